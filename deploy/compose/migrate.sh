#!/bin/sh
# Applies every migration, written for SUPABASE_SCHEMA, in the order of its name and in one transaction, so that a running service
# never sees old and new functions together; each may be applied again. PG* says where the database is.
set -eu
for file in "$1"/*.sql; do
  echo "applying ${file##*/}"
done
sed "s/captionacc_production/\"$SUPABASE_SCHEMA\"/g" "$1"/*.sql | psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --single-transaction --file -
