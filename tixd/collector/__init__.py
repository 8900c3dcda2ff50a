"""The GRACC collector: Gratia bundles in over HTTP, usage records out."""
