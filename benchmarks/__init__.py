"""The speed of flushing, beside the bare drivers and flask-signalbus 0.5.20."""
