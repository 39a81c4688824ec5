"""Every way in which an event of Stripe's, or what it says, is not applied.

Rejected
└── StripeRejected
├── SignatureRefused        refused: the body can't be taken for Stripe's
│   ├── MissingSignature        there is none
│   ├── MalformedSignature      the header is not Stripe's
│   ├── BadSignature            none fits the body with any of our secrets
│   ├── StaleSignature          signed too long before it was received
│   └── FutureSignature         signed after it was received
├── Unreadable              refused: the body is no event
│   ├── BodyTooLarge            larger than any event
│   ├── NotUtf8, NotJson        no text, no JSON
│   └── NotAnEvent              the JSON has no event's fields
├── BadObject               failed, or refused where no event can be made of it
│   ├── MissingObject           it names no object
│   ├── BadAmount               no whole number, negative, absurdly large
│   └── UnknownCurrency         not in ISO 4217's list
├── NoneOfOurs              ignored
│   ├── LivemodeMismatch        live where test events are taken, or the other way round
│   ├── ForeignAccount          of another Stripe account
│   ├── ForeignProduct          nothing in it is sold by us
│   └── StripeKnowsNone         the object is gone
├── Waits                   parked until something is known
│   ├── UnknownCustomer         no account is this customer
│   ├── UnknownPayment          the payment has not been seen yet
│   ├── UnknownPrice            a price is only named
│   └── NeedsApiKey             a thin event, and no API key
└── NeedsPerson             failed: only a person can mend it
├── CustomerAmbiguous       two accounts are this customer
├── CustomerTaken           the account it names is another customer
├── UnknownPlan             a price names a plan that there is not
├── AbsurdCredits           more credits than anybody sells
├── LinesIncomplete         an invoice's lines were cut off
├── LineWithoutPeriod       a plan's line says no time
└── AbsurdPeriod            ... or a longer one than Stripe sells
"""

from billing.errors import Rejected


class StripeRejected(Rejected):
    """An event of Stripe's is not applied."""


class SignatureRefused(StripeRejected):
    """The body can't be taken for Stripe's."""


class MissingSignature(SignatureRefused):
    """There is no signature at all."""


class MalformedSignature(SignatureRefused):
    """The header is not Stripe's: no time, no `v1` signature, or too long."""


class BadSignature(SignatureRefused):
    """No signature fits the body with any of our secrets."""


class StaleSignature(SignatureRefused):
    """It was signed longer before it was received than the tolerance allows."""


class FutureSignature(SignatureRefused):
    """It was signed later than it was received, by more than the tolerance."""


class Unreadable(StripeRejected):
    """The body is no event of Stripe's."""


class BodyTooLarge(Unreadable):
    """The body is larger than any event."""


class NotUtf8(Unreadable):
    """The body is not text in UTF-8."""


class NotJson(Unreadable):
    """The body is not JSON."""


class NotAnEvent(Unreadable):
    """The JSON has no event's fields."""


class BadObject(StripeRejected):
    """A field of a Stripe object is not what it must be; `field` names it."""


class MissingObject(BadObject):
    """The event names no object, or one without an id."""


class BadAmount(BadObject):
    """An amount is no whole number, is negative where none may be, or is absurdly large."""


class UnknownCurrency(BadObject):
    """The currency is not in ISO 4217's list."""


class NoneOfOurs(StripeRejected):
    """It is none of our business, or none any more."""


class LivemodeMismatch(NoneOfOurs):
    """A live event where test events are taken, or the other way round."""


class ForeignAccount(NoneOfOurs):
    """An event of another Stripe account than ours."""


class ForeignProduct(NoneOfOurs):
    """Nothing in it is sold by us: the Stripe account has other products too."""


class DetachedMethod(NoneOfOurs):
    """The payment method belongs to no customer any more."""


class StripeKnowsNone(NoneOfOurs):
    """Stripe does not know the object any more."""


class Waits(StripeRejected):
    """Something must become known first; the event is parked until it is."""


class UnknownCustomer(Waits):
    """No account has this customer, and the object names none."""


class UnknownPayment(Waits):
    """The payment that the object belongs to has not been seen yet."""


class UnknownPrice(Waits):
    """An object only names a price; what that is must be known first."""


class NeedsApiKey(Waits):
    """A thin event names its object and carries none: only Stripe can tell, given an API key."""


class NeedsPerson(StripeRejected):
    """It contradicts what we know, and no waiting mends it."""


class CustomerAmbiguous(NeedsPerson):
    """More than one account has this customer: a person must say which one pays."""


class CustomerTaken(NeedsPerson):
    """The object names an account that has another customer already."""


class UnknownPlan(NeedsPerson):
    """A price names a plan that there is not."""


class AbsurdCredits(NeedsPerson):
    """A line would buy more credits than anybody sells."""


class LinesIncomplete(NeedsPerson):
    """The event carries only the first lines of an invoice; with an API key all are fetched."""


class LineWithoutPeriod(NeedsPerson):
    """A plan's line does not say for which time."""


class AbsurdPeriod(NeedsPerson):
    """A plan's line is for a longer time than Stripe sells."""
