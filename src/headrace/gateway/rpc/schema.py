"""Protocol-buffer messages from a short text, in a descriptor pool of their own.

Nothing is generated and nothing is compiled: the text is read when the module is first needed. The pool of our own
keeps our ``inference.*`` apart from a client's in the same process, whose equal names would clash
(docs/decisions/0010).
"""

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    kind: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
    for kind in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}
_MESSAGE = re.compile(r"message (\w+) \{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"(repeated |optional )?(?:map<string, (\w+)>|(\w+)) (\w+) = (\d+);")
_Field = descriptor_pb2.FieldDescriptorProto


class Messages:
    """Message classes by name.

    Args:
        package: Protocol-buffer package (``inference``).
        text: ``message Name { [repeated|optional] type field = 1; map<string, type> field = 2; }``, flat, in any order.
            A nested message of the original is written ``Outer_Inner``: names of messages do not travel.
    """

    def __init__(self, package: str, text: str) -> None:
        self._package = package
        file = descriptor_pb2.FileDescriptorProto(name=f"headrace/{package}.proto", package=package, syntax="proto3")
        names = []
        for name, fields in _MESSAGE.findall(text):
            names.append(name)
            message = file.message_type.add(name=name)
            for label, mapped, kind, field, number in _FIELD.findall(fields):
                repeated = label == "repeated " or mapped
                label_of = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
                added = message.field.add(name=field, number=int(number), label=label_of)
                if label == "optional ":  # a choice of one, so that what was sent can be told from what was not
                    added.proto3_optional, added.oneof_index = True, len(message.oneof_decl)
                    message.oneof_decl.add(name=f"_{field}")
                if mapped:
                    self._map(message, added, mapped)
                else:
                    self._type(added, kind)
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(file.SerializeToString())
        found = {name: pool.FindMessageTypeByName(f"{package}.{name}") for name in names}
        self._classes = {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}

    def __getattr__(self, name: str) -> Any:
        """The class of a message."""
        if name.startswith("_") or name not in self._classes:
            raise AttributeError(name)
        return self._classes[name]

    def _map(self, message: Any, field: Any, kind: str) -> None:
        """A map is a list of entries, each with a key and a value."""
        entry = message.nested_type.add(name="".join(part.title() for part in field.name.split("_")) + "Entry")
        entry.options.map_entry = True
        for number, (name, of) in enumerate((("key", "string"), ("value", kind)), 1):
            self._type(entry.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL), of)
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{self._package}.{message.name}.{entry.name}"

    def _type(self, field: Any, kind: str) -> None:
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type = _Field.TYPE_MESSAGE
            field.type_name = f".{self._package}.{kind}"
