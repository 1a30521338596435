"""Where datasets come from: a room per family of formats; what they share stands beside."""
