"""pytest plugins that `make test` loads by name. They must not know Doorward."""
