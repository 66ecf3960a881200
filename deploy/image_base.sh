#!/bin/sh
# Makes a base image for the Dockerfile out of Debian's packages, where no container registry can be reached.
# Needs root, debootstrap and buildah. Usage: deploy/image_base.sh NAME [MIRROR]
set -eu

name=$1
mirror=${2:-http://deb.debian.org/debian}
folder=$(mktemp -d)
trap 'umount "$folder" 2> /dev/null || true; rm -rf "$folder"' EXIT
# dpkg waits for the disk after every file: in memory, where that may be mounted, it takes one minute instead of many.
mount -t tmpfs -o size=2g base "$folder" 2> /dev/null || true

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$folder/root" "$mirror"
rm -rf "$folder/root/var/cache/apt" "$folder/root/var/lib/apt/lists"
base=$(buildah from scratch)
buildah add --quiet "$base" "$folder/root" /
buildah commit --quiet --format docker --rm "$base" "$name"
