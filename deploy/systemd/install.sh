#!/bin/sh
# Installs the exporter and the receiver as systemd services; `install.sh --help` says how. Running it again updates the
# program and the units, and keeps configuration, secrets and data.
set -eu
umask 022 # whatever root's is: the services have users of their own and must read the program

usage() {
    cat <<'TEXT'
usage: install.sh [--package WHEEL] [--prefix DIR] [--destdir DIR] [--keep-program] [--uninstall [--purge]]

  --package WHEEL  a wheel, an sdist or a requirement; heypeter-monitoring otherwise
  --prefix DIR     where the program goes: /opt/heypeter
  --destdir DIR    install below this folder and leave the running systemd alone, e.g. to make a package
  --keep-program   leave the program as it is: units, configuration and secrets only
  --uninstall      stop the services, remove program and units; keep configuration, secrets and data
  --purge          with --uninstall: remove those too

Environment: PYTHON, the interpreter (python3, 3.11 or later); pip reads PIP_INDEX_URL and its other variables.
TEXT
}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

prefix=/opt/heypeter destdir=${DESTDIR:-} package=heypeter-monitoring action=install purge=no program=yes
while [ $# -gt 0 ]; do
    case $1 in
        --package | --prefix | --destdir)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in --package) package=$2 ;; --prefix) prefix=$2 ;; --destdir) destdir=$2 ;; esac
            shift ;;
        --keep-program) program=no ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
case $prefix in /?*) ;; *) fail "invalid --prefix '$prefix' (expected an absolute path, e.g. /opt/heypeter)" ;; esac
case $prefix in *[!A-Za-z0-9/._-]*) fail "invalid --prefix '$prefix' (expected letters, digits, / . _ -)" ;; esac
case $prefix/ in */../* | */./*) fail "invalid --prefix '$prefix' (without . and ..)" ;; esac
[ "$purge" = no ] || [ "$action" = uninstall ] || fail "--purge goes with --uninstall"
[ -n "$destdir" ] || [ "$(id -u)" = 0 ] || fail "run this as root, or with --destdir"

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
python=${PYTHON:-python3}
etc=/etc/heypeter
units=$destdir/etc/systemd/system
tmpfiles=$destdir/etc/tmpfiles.d/heypeter.conf
marker=$destdir$prefix/installed-by-heypeter
names="heypeter-receiver.socket heypeter-receiver.service heypeter-exporter.socket heypeter-exporter-browser.socket heypeter-exporter.service"

systemd() { # on the running system only
    if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then "$@"; fi
}

fill() { # put the folders in a file of this folder
    sed -e "s|@prefix@|$prefix|g" -e "s|@etc@|$etc|g" "$here/$1" > "$2.new"
    chmod 644 "$2.new"
    mv "$2.new" "$2"
}

install_program() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11; set PYTHON"
    [ -e "$marker" ] || [ -z "$(ls -A "$destdir$prefix")" ] || fail "$destdir$prefix is not empty; set --prefix"
    touch "$marker"
    [ -x "$destdir$prefix/bin/python" ] || "$python" -m venv "$destdir$prefix" ||
        fail "$python cannot make an environment (Debian: apt install python3-venv)"
    "$destdir$prefix/bin/python" -m pip install -q --disable-pip-version-check --upgrade "$package"
    if [ -n "$destdir" ]; then # the programs name the interpreter by its final path
        sed -i "1s|^#!$destdir|#!|" "$destdir$prefix"/bin/heypeter-*
    fi
}

install_config() { # NAME: the example, with paths of this installation; only if there is none
    [ ! -e "$destdir$etc/$1.yml" ] || return 0
    sed -e "s|secrets/|/run/credentials/heypeter-$1.service/secret_|" \
        -e "s|/var/lib/heypeter/|/var/lib/heypeter-$1/|" \
        -e "s|path: data/exporter|path: /var/lib/heypeter-exporter/state|" \
        "$here/../config/$1.yml" > "$destdir$etc/$1.yml.new"
    mv "$destdir$etc/$1.yml.new" "$destdir$etc/$1.yml" # whole or not at all
    echo "wrote $etc/$1.yml: edit it"
}

install_secret() { # PROGRAM/NAME: random, only if there is none
    secret=$destdir$etc/secrets/$1
    [ ! -s "$secret" ] || return 0
    (umask 077 && head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' > "$secret.new")
    mv "$secret.new" "$secret"
}

install_all() {
    mkdir -p "$destdir$prefix" "$units" "${tmpfiles%/*}" "$destdir$etc"
    (umask 077 && mkdir -p "$destdir$etc/secrets/receiver" "$destdir$etc/secrets/exporter")
    [ "$program" = no ] || install_program
    for name in $names; do fill "$name" "$units/$name"; done
    fill heypeter.tmpfiles.conf "$tmpfiles"
    for name in receiver exporter; do install_config "$name"; done
    for name in webhook-token api-token link-secret; do install_secret "receiver/$name"; done
    install_secret exporter/exporter-token
    systemd systemd-tmpfiles --create heypeter.conf
    systemd systemctl daemon-reload
    systemd systemctl try-restart heypeter-receiver.service heypeter-exporter.service
    cat <<TEXT
Installed. Edit $etc/receiver.yml and $etc/exporter.yml, and check them:
  $prefix/bin/heypeter-receiver check --config.file $etc/receiver.yml
  $prefix/bin/heypeter-exporter check --config.file $etc/exporter.yml
Then: systemctl enable --now heypeter-receiver heypeter-exporter
TEXT
}

uninstall() {
    # shellcheck disable=SC2086 # words
    systemd systemctl disable --now $names 2> /dev/null || true
    for name in $names; do rm -f "$units/$name"; done
    rm -f "$tmpfiles"
    if [ -e "$marker" ]; then # never a folder that this script has not made, nor what others have put into it
        for name in bin include lib lib64 share pyvenv.cfg; do rm -rf "$destdir$prefix/$name"; done
        rm -f "$marker"
        rmdir "$destdir$prefix" 2> /dev/null || echo "left $prefix: it has files of others"
    fi
    systemd systemctl daemon-reload
    if [ "$purge" = yes ]; then
        rm -rf "$destdir$etc"
        for name in receiver exporter; do rm -rf "$destdir/var/lib/heypeter-$name" "$destdir/var/lib/private/heypeter-$name"; done
    else
        echo "Removed. Configuration and secrets are still in $etc, data in /var/lib/heypeter-*."
    fi
}

case $action in install) install_all ;; uninstall) uninstall ;; esac
