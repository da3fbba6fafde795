#!/bin/sh
# azd's hooks where there is sh: finds a Python and hands on. Usage: sh infra/hooks/run.sh HOOK
cd "$(dirname "$0")/../.." || exit 1
for python in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$python" -B -m infra.hooks "$@"
    fi
done
echo 'The hooks of Lifeboat need Python 3.11 or later, and none was found as python3 or python: install it, then run azd again.' >&2
exit 1
