"""What the pages of the site need: hooks, drawings, the page of all messages."""
