"""The WSDL, with the address under which the caller reached us (provincial SOAP 1.2). Pure.

Generated clients look the names up in it; they are those of the real service, its misspelling included.
"""

from xml.sax.saxutils import quoteattr

from ehc.gateways.provincial_soap.envelope import OPERATION, TARGET

_IMPL = "ElecHealthCardWebSeviceImpl"

_WSDL = f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions name="{_IMPL}Service"
    targetNamespace="{TARGET}"
    xmlns="http://schemas.xmlsoap.org/wsdl/"
    xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:ehc="{TARGET}"
    xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <types>
    <xs:schema targetNamespace="{TARGET}" elementFormDefault="unqualified">
      <xs:element name="{OPERATION}" type="ehc:{OPERATION}"/>
      <xs:complexType name="{OPERATION}"><xs:sequence>
        <xs:element name="arg0" type="xs:string" minOccurs="0"/>
        <xs:element name="arg1" type="xs:string" minOccurs="0"/>
      </xs:sequence></xs:complexType>
      <xs:element name="{OPERATION}Response" type="ehc:{OPERATION}Response"/>
      <xs:complexType name="{OPERATION}Response"><xs:sequence>
        <xs:element name="return" type="xs:string" minOccurs="0"/>
      </xs:sequence></xs:complexType>
    </xs:schema>
  </types>
  <message name="{OPERATION}"><part name="parameters" element="ehc:{OPERATION}"/></message>
  <message name="{OPERATION}Response"><part name="parameters" element="ehc:{OPERATION}Response"/></message>
  <portType name="ElecHealthCardWebSevice">
    <operation name="{OPERATION}">
      <input name="{OPERATION}" message="ehc:{OPERATION}"/>
      <output name="{OPERATION}Response" message="ehc:{OPERATION}Response"/>
    </operation>
  </portType>
  <binding name="{_IMPL}ServiceSoapBinding" type="ehc:ElecHealthCardWebSevice">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="{OPERATION}">
      <soap:operation soapAction="" style="document"/>
      <input name="{OPERATION}"><soap:body use="literal"/></input>
      <output name="{OPERATION}Response"><soap:body use="literal"/></output>
    </operation>
  </binding>
  <service name="{_IMPL}Service">
    <port name="{_IMPL}Port" binding="ehc:{_IMPL}ServiceSoapBinding">
      <soap:address location=ADDRESS/>
    </port>
  </service>
</definitions>
"""


def wsdl(address: str) -> bytes:
    """The description of the service at an address."""
    return _WSDL.replace("ADDRESS", quoteattr(address)).encode()
