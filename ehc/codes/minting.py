"""Making signed codes. Apart from `signed.py`, so that what checks codes never comes near a signer."""

import cbor2

from ehc.codes.signed import Claims, encode
from ehc.crypto.keys import ES256
from ehc.crypto.signer import Signer

_COSE_SIGN1 = 18
_ALG, _KID = 1, 4
_EXP, _IAT, _CTI = 4, 6, 7
_KIND, _STATIC = -65537, 1  # a label of private use (RFC 8392 section 9.1.1); it sorts behind the others


def mint(claims: Claims, signer: Signer) -> str:
    """The digits of a code with these claims. One signature; the same claims give another text each time.

    Does not hold the life against that of the kind: who makes a code decides it, who checks a code refuses a longer one.
    """
    protected = cbor2.dumps({_ALG: ES256, _KID: signer.key_id})
    kind = {_KIND: _STATIC} if claims.static else {}
    payload = cbor2.dumps({_EXP: claims.expires_at, _IAT: claims.issued_at, _CTI: claims.cti, **kind})
    signature = signer.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return encode(cbor2.dumps(cbor2.CBORTag(_COSE_SIGN1, [protected, {}, payload, signature])))
