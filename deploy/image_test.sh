#!/bin/sh
# Builds the CPU image and tests it in a container: make image-test.
#
# TOOL is docker or podman; where neither is there, Debian's podman, buildah and debootstrap are installed (as root).
# BASE_IMAGE is what to build on; without one, and without docker, a base is made of Debian's packages, so that no
# container registry is needed.
set -eu
cd "$(dirname "$0")/.."

image=localhost/sppruner-vllm:test
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -z "${TOOL:-}" ]; then
  if command -v docker > /dev/null && docker info > /dev/null 2>&1; then TOOL=docker; else TOOL=podman; fi
fi

# What a build needs on top of the README's command: settings of this machine, of which empty mount points alone stay.
set --
if [ "$TOOL" != docker ]; then
  for program in podman buildah runc debootstrap iptables; do
    command -v "$program" > /dev/null && continue
    apt-get update
    apt-get install --yes --no-install-recommends \
      podman buildah runc debootstrap iptables netavark aardvark-dns
    break
  done
  # Limits that need no rights beyond root in a container of its own; a real host has better ones.
  export BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker
  if [ -z "${CONTAINERS_CONF:-}" ]; then
    export CONTAINERS_CONF="$scratch/containers.conf"
    cat > "$CONTAINERS_CONF" << EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
EOF
  fi
  # podman mounts overlays where the kernel lets it. Not on top of another overlay: there every layer is a whole copy.
  if ! "$TOOL" info > /dev/null 2>&1; then export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}"; fi
  if [ -z "${BASE_IMAGE:-}" ]; then
    BASE_IMAGE=localhost/sppruner-base:bookworm
    mirror=$(sed -n 's/^URIs: *\([^ ]*\/debian\/*\)$/\1/p' /etc/apt/sources.list.d/debian.sources 2> /dev/null | head -n 1)
    "$TOOL" image exists "$BASE_IMAGE" || sh deploy/image_base.sh "$BASE_IMAGE" "$mirror"
  fi
  for place in $(python3 deploy/pip_places.py); do set -- "$@" --volume "$place:$place:ro"; done
fi
if [ -n "${BASE_IMAGE:-}" ]; then set -- "$@" --build-arg "BASE_IMAGE=$BASE_IMAGE"; fi

"$TOOL" build --target cpu --tag "$image" "$@" .

SPPRUNER_TEST_IMAGE=$image SPPRUNER_TEST_TOOL=$TOOL .venv/bin/python -m pytest -q tests/image
