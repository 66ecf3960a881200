"""Every `sppruner_*` metric: the families, what moves them, the page that lists them."""
