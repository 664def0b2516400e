#!/bin/sh
# Applies every migration in the order of its name; each may be applied again. Where psql finds the database stands in PG*.
set -eu
for file in "$1"/*.sql; do
  echo "applying ${file##*/}"
  psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --single-transaction --file "$file"
done
