"""The speed of flushing, compared with bare drivers and flask-signalbus 0.5.20."""
