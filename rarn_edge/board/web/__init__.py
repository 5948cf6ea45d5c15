"""A model as a web page: one HTML file that works by double click, or a folder for a static server."""
