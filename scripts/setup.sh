#!/usr/bin/env bash
# Set the machine up for the demo or the tests. Safe to run again: what is there already is left alone.
#   scripts/setup.sh demo   virtual environment, Azurite, Samba, unixODBC with Microsoft's driver
#   scripts/setup.sh test   that, and the judges: stock restic (Debian's and the newest), FreeTDS, the Functions worker,
#                           and for infra/ Microsoft's KQL language service and checkov
# What cannot be had is said at the end. Only what nothing works without ends the script: Python, Node.js, Azurite.
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:-test}
case "$mode" in
demo | test) ;;
*)
    echo "usage: scripts/setup.sh demo|test" >&2
    exit 2
    ;;
esac

azurite_version=3.37.0
restic_version=0.19.1
worker_version=1.3.0
kusto_version=12.4.1
checkov_version=3.3.30
missing=()

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}
lacks() {
    missing+=("$*")
    say "$*"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null; then
        return 1
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

make_environment() {
    local python wanted
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python) || die "Python 3.11 or later is needed: install it and run this again"
        "$python" -m venv .venv || die "$python cannot make a virtual environment: install its venv module"
    fi
    wanted=$(cat requirements*.txt scripts/setup.sh | sha256sum)
    if [ "$(cat .venv/.lifeboat-setup 2>/dev/null || true)" = "$wanted-$mode" ] ||
        [ "$(cat .venv/.lifeboat-setup 2>/dev/null || true)" = "$wanted-test" ]; then
        return
    fi
    say "installing Python packages"
    if [ "$mode" = test ]; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
        # Microsoft's worker library asks for Python 3.13 but runs on 3.11 and 3.12 as well.
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
            "azure-functions-runtime==$worker_version" azurefunctions-extensions-base
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-demo.txt
    fi
    echo "$wanted-$mode" >.venv/.lifeboat-setup
}

# The mark is made last: an installation that was interrupted is begun anew, not taken for whole.
install_from_npm() { # FOLDER PACKAGE VERSION
    local folder=.cache/$1 mark=.cache/$1/.installed-$3
    if [ -f "$mark" ]; then return; fi
    say "installing $2 $3"
    rm -rf "$folder"
    mkdir -p "$folder"
    echo '{"private": true}' >"$folder/package.json"
    npm install --prefix "$folder" --no-audit --no-fund --loglevel=error "$2@$3" >&2 && touch "$mark"
}

install_azurite() {
    command -v node >/dev/null && command -v npm >/dev/null || die "Node.js 20 or later with npm is needed for Azurite"
    install_from_npm node azurite "$azurite_version" || die "npm could not install Azurite $azurite_version"
}

install_kusto() {
    install_from_npm kusto @kusto/language-service-next "$kusto_version" ||
        lacks "Microsoft's KQL language service could not be installed: nobody judges infra/queries, and its tests fail"
}

# An environment of its own: beside the project's packages it would resolve to a version of years ago.
install_checkov() {
    local folder=.cache/checkov mark=.cache/checkov/.installed-$checkov_version
    if [ -f "$mark" ]; then return; fi
    say "installing checkov $checkov_version"
    rm -rf "$folder"
    { .venv/bin/python -m venv "$folder" &&
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "checkov==$checkov_version" >&2 &&
        touch "$mark"; } ||
        lacks "checkov could not be installed: what infra/ would deploy is not judged by it, and its test fails"
}

apt_updated=
install_from_debian() { # COMMAND-OR-FILE PACKAGE WHAT-IT-MEANS
    if command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; then return; fi
    if compgen -G "$1" >/dev/null; then return; fi
    if ! command -v apt-get >/dev/null; then
        lacks "$2 cannot be installed here (no apt-get): $3"
        return
    fi
    say "installing Debian's $2"
    if [ -z "$apt_updated" ]; then
        as_root apt-get update -qq >&2 || true
        apt_updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null ||
        lacks "$2 could not be installed: $3"
}

# The newest restic lies in Debian's unstable suite and runs on older ones: the package is unpacked, not installed, and
# the system's own package lists stay as they are.
fetch_newest_restic() {
    local target=.cache/tools/restic-0.19 work stanza
    if [ -x "$target" ]; then return; fi
    if ! command -v apt-get >/dev/null || [ ! -f /etc/apt/sources.list.d/debian.sources ]; then
        lacks "restic $restic_version cannot be had (no Debian sources): tests judge with the older one only"
        return
    fi
    say "fetching restic $restic_version from Debian's unstable suite"
    work=$(mktemp -d)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/unpacked" .cache/tools
    stanza=$work/unstable.sources
    awk 'BEGIN { RS = ""; ORS = "\n\n" } NR == 1' /etc/apt/sources.list.d/debian.sources |
        sed 's/^Suites:.*/Suites: unstable/' >"$stanza"
    local options=(-qq -o "Dir::Etc::sourcelist=$stanza" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
        -o "Dir::Cache=$work/cache" -o APT::Sandbox::User="$(id -un)")
    if (cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" download restic) >&2 &&
        dpkg-deb -x "$work"/restic_*.deb "$work/unpacked" &&
        "$work/unpacked/usr/bin/restic" version >&2; then
        cp "$work/unpacked/usr/bin/restic" "$target.new" && mv "$target.new" "$target"
    else
        lacks "restic $restic_version could not be fetched: tests judge with the older one only"
    fi
    rm -rf "$work"
}

make_environment
install_azurite
install_from_debian "/usr/lib/*/libodbc.so.2" libodbc2 "databases cannot be reached (no unixODBC)"
install_from_debian "/usr/lib/*/libodbcinst.so.2" libodbcinst2 "databases cannot be reached (no unixODBC)"
install_from_debian "/usr/lib/*/libltdl.so.7" libltdl7 "databases cannot be reached (no unixODBC)"
install_from_debian "/usr/lib/*/libgssapi_krb5.so.2" libgssapi-krb5-2 "Microsoft's ODBC driver does not load"
install_from_debian smbd samba "the share is a local folder instead of an SMB server"
install_from_debian "/usr/lib/*/samba/vfs/acl_xattr.so" samba-vfs-modules "Samba keeps no ACLs, and the demo's share fails"
if [ "$mode" = test ]; then
    install_from_debian restic restic "the oldest stock restic does not judge"
    install_from_debian chromium chromium "nobody looks at the dashboard, and its tests fail"
    install_from_debian "/usr/lib/*/odbc/libtdsodbc.so" tdsodbc "FreeTDS does not judge the connection to SQL Server"
    fetch_newest_restic
    install_kusto
    install_checkov
else
    install_from_debian restic restic "stock restic does not check the demo's backup"
fi

if [ ${#missing[@]} -gt 0 ]; then
    say "done, without:"
    printf 'setup:   %s\n' "${missing[@]}" >&2
else
    say "done ($mode)"
fi
