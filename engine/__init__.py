"""Numbers become judgements: model artifact, backends, spotting, events."""
