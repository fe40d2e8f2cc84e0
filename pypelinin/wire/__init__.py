"""The words of the conversation: messages between peers and rows of the journal."""
