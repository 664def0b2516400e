"""The apps as modules, for Faust's own command: ``faust -A streams.apps.gpu_worker worker --without-web``."""
