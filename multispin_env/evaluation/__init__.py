"""The reference protocol as a library: controllers, episodes, statistics, folders of results, pictures."""
