#!/bin/sh
# The ancestor's command of the image: /ie-serving-py/start_server.sh ie_serving model --model_path ... --model_name ...
set -eu
cd /ie-serving-py
exec "$@"
