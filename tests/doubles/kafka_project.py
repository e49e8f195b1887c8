"""A project whose streams are on a broker."""

from wine_project import WineProject

from headrace.assembly import open_platform
from headrace.settings import load_settings


class KafkaProject(WineProject):
    """Wine, logged on a broker of the Kafka protocol."""

    def __init__(self, root, broker):
        root.mkdir(exist_ok=True)
        super().__init__(root)
        (root / "headrace.toml").write_text(f'stream = "{broker.uri()}"\n')
        self.platform = open_platform(load_settings(root))
