"""Tools of the site: hooks, drawings, the page of all messages, the word list."""
