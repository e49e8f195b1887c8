"""Protocol-buffer messages from a short text, in a descriptor pool of their own.

Nothing is generated and nothing is compiled: the text is read when the module is first needed. The pool of our own
keeps our ``inference.*`` apart from a client's in the same process, whose equal names would clash
(docs/decisions/0010).
"""

import re
from collections.abc import Collection
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    kind: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
    for kind in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}
_DECLARED = re.compile(r"(message|enum|service) (\w+) \{(.*?)\}", re.DOTALL)
_FIELD = re.compile(r"(repeated |optional )?(?:map<string, (\w+)>|(\w+)) (\w+) = (\d+);")
_VALUE = re.compile(r"(\w+) = (\d+);")
_METHOD = re.compile(r"rpc (\w+) \((stream )?(\w+)\) returns \((stream )?(\w+)\);")
_Field = descriptor_pb2.FieldDescriptorProto


class Messages:
    """Message classes by name.

    Args:
        package: Protocol-buffer package (``inference``).
        text: ``message Name { [repeated|optional] type field = 1; map<string, type> field = 2; }``, flat, in any order.
            A nested message of the original is written ``Outer_Inner``: names of messages do not travel. Besides
            ``enum Name { VALUE = 0; }`` and ``service Name { rpc Name (Request) returns (Reply); }``.

    Attributes:
        file: The same as protocol buffers describe it, for who asks what there is.
        services: Services in it, with their package.
    """

    def __init__(self, package: str, text: str) -> None:
        self._package = package
        self.file = file = descriptor_pb2.FileDescriptorProto(
            name=f"headrace/{package}.proto", package=package, syntax="proto3"
        )
        declared = _DECLARED.findall(text)
        self._enums = frozenset(name for kind, name, _ in declared if kind == "enum")
        read = {"message": self._message, "enum": self._enum, "service": self._service}
        for kind, name, body in declared:
            read[kind](name, body)
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(file.SerializeToString())
        found = {own.name: pool.FindMessageTypeByName(f"{package}.{own.name}") for own in file.message_type}
        self._classes = {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}
        self.services: Collection[str] = tuple(f"{package}.{own.name}" for own in file.service)

    def __getattr__(self, name: str) -> Any:
        """The class of a message."""
        if name.startswith("_") or name not in self._classes:
            raise AttributeError(name)
        return self._classes[name]

    def _message(self, name: str, body: str) -> None:
        message = self.file.message_type.add(name=name)
        for label, mapped, kind, field, number in _FIELD.findall(body):
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

    def _enum(self, name: str, body: str) -> None:
        enum = self.file.enum_type.add(name=name)
        for value, number in _VALUE.findall(body):
            enum.value.add(name=value, number=int(number))

    def _service(self, name: str, body: str) -> None:
        service = self.file.service.add(name=name)
        for method, many, asked, several, told in _METHOD.findall(body):
            service.method.add(
                name=method,
                input_type=f".{self._package}.{asked}",
                output_type=f".{self._package}.{told}",
                client_streaming=bool(many),
                server_streaming=bool(several),
            )

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
            field.type = _Field.TYPE_ENUM if kind in self._enums else _Field.TYPE_MESSAGE
            field.type_name = f".{self._package}.{kind}"
