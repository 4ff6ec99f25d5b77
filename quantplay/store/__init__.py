"""The product database and the artifact store: rows and files behind `open_store`."""
