#!/bin/sh
# Makes a base image for the Dockerfile out of Debian's packages, where no container registry can be reached.
# Needs root, debootstrap and buildah. Usage: deploy/image_base.sh NAME [MIRROR]
set -eu

name=$1
mirror=${2:-http://deb.debian.org/debian}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$folder/root" "$mirror"
rm -rf "$folder/root/var/cache/apt" "$folder/root/var/lib/apt/lists"
base=$(buildah from scratch)
buildah add --quiet "$base" "$folder/root" /
buildah commit --quiet --format docker --rm "$base" "$name"
