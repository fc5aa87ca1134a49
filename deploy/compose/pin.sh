#!/bin/sh
# Writes the digest of each image of images.env into that file; needs docker with buildx and a way to the registries.
set -eu
cd "$(dirname "$0")"
while IFS='=' read -r name value; do
    case $name in
        *_IMAGE)
            image=$value
            digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
            case $digest in
                sha256:????????????????????????????????????????????????????????????????) ;;
                *) echo "pin.sh: $image: invalid digest '$digest' (expected sha256:...)" >&2; exit 1 ;;
            esac
            echo "$name=$image" ;;
        *_DIGEST) echo "$name=$digest" ;;
        *) echo "$name${value:+=$value}" ;;
    esac
done < images.env > images.env.new
mv images.env.new images.env
