"""What is known of the request being served: how far it has come, its document, its account."""
