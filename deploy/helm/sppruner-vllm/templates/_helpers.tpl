{{- define "sppruner.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "sppruner.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sppruner.labels" -}}
{{ include "sppruner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "sppruner.secret" -}}
{{- if .Values.apiKey.existingSecret }}{{ .Values.apiKey.existingSecret }}{{ else if .Values.apiKey.value }}{{ include "sppruner.name" . }}-key{{ end }}
{{- end }}

{{- define "sppruner.series" -}}
{{ printf "{namespace=%q,service=%q}" .Release.Namespace (include "sppruner.name" .) }}
{{- end }}

{{- define "sppruner.grace" -}}
{{- $needed := add .Values.shutdown.preStopSeconds .Values.shutdown.drainSeconds 15 }}
{{- if lt (int .Values.shutdown.gracePeriodSeconds) (int $needed) }}
{{- fail (printf "shutdown.gracePeriodSeconds is %v, but preStopSeconds, drainSeconds and 15 s for the end make %v: pods would be killed while they drain" .Values.shutdown.gracePeriodSeconds $needed) }}
{{- end }}
{{- .Values.shutdown.gracePeriodSeconds }}
{{- end }}

{{- /* A flag of `args`, quoted; not one that would undo what the chart sets, or put a key where everybody sees it. */}}
{{- define "sppruner.flag" -}}
{{- $name := regexReplaceAll "_" (regexFind "^--[^=]*" .) "-" }}
{{- $values := dict "--api-key" "apiKey" "--shutdown-timeout" "shutdown.drainSeconds" "--port" "service.port" "--ssl-keyfile" "what ends TLS before the pods" "--ssl-certfile" "what ends TLS before the pods" }}
{{- if hasKey $values $name }}
{{- fail (printf "args: %s is not for here, use %s" $name (get $values $name)) }}
{{- end }}
{{- . | quote }}
{{- end }}
