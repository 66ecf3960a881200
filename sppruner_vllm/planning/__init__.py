"""What is decided about an image before it is encoded: pure, so that any host decides alike."""
