"""The pages of the site, and the tools that make some of them."""
