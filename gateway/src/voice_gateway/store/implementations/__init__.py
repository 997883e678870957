"""The session stores, one file each; a file alone imports the driver of its server."""
