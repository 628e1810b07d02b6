#!/bin/sh
# Takes the options of ovms, its commands, or a program: `IMAGE --model_name M ...`, `IMAGE config ...`, `IMAGE /bin/sh`.
set -eu
case ${1-} in
    /* | ovms | ie_serving | python | sh) exec "$@" ;;
    *) exec ovms "$@" ;;
esac
