"""Target types and publish sources; other packages put modules of their own into this package."""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
