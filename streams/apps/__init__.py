"""The apps as modules, for Faust's own command: ``faust -A streams.apps.gpu worker --without-web``."""
