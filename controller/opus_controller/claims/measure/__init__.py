"""What makes figures. Rules, words and pictures are outside of it, so that they may change without measuring again (`kept`)."""
