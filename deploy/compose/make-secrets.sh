#!/bin/sh
# Makes the folder of secrets: six at random, and an empty file for each that only you can know. Keeps what is there.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 700 secrets
for name in webhook-token api-token link-secret exporter-token grafana-admin-password database-password; do
    [ -s "secrets/$name" ] || head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' > "secrets/$name"
done
for name in pagerduty-engineers pagerduty-leads slack-bot-token smtp-password postgres-password; do
    [ -s "secrets/$name" ] || { touch "secrets/$name"; echo "fill in $PWD/secrets/$name"; }
done
# The files must be readable by the users inside the containers, who are all in group 10001. Only root can give them to a
# group that has no name here; without root they are readable by all, in a folder that is not.
if [ "$(id -u)" = 0 ]; then chgrp 10001 secrets/* && chmod 640 secrets/*; else chmod 644 secrets/*; fi
