"""The errors of Stripe's events and objects; each is the reason in an event's row.

    Rejected
    └── StripeRejected
        ├── SignatureRefused        refused: the body was not signed by Stripe
        │   ├── MissingSignature        there is no signature
        │   ├── MalformedSignature      the header is not Stripe's
        │   ├── BadSignature            no signature fits any of our secrets
        │   ├── StaleSignature          signed too long before it was received
        │   └── FutureSignature         signed after it was received
        ├── Unreadable              refused: the body is no event
        │   ├── BodyTooLarge            larger than any event
        │   ├── NotUtf8, NotJson        not text, not JSON
        │   └── NotAnEvent              JSON without an event's fields
        ├── BadObject               failed, or refused if the event itself can't be read
        │   ├── MissingObject           the event names no object
        │   ├── BadAmount               not a whole number, negative, absurdly large
        │   └── UnknownCurrency         not in ISO 4217's list
        ├── NoneOfOurs              ignored
        │   ├── UnhandledType           an event type without an effect
        │   ├── LivemodeMismatch        live where test events are taken, or the reverse
        │   ├── ForeignAccount          of another Stripe account
        │   ├── ForeignProduct          it contains nothing that we sell
        │   ├── DetachedMethod          the payment method has no customer any more
        │   ├── StripeKnowsNone         the object is gone
        │   └── ByHand                  an operator ignored the event
        ├── Waits                   parked until something becomes known
        │   ├── UnknownCustomer         no account has this customer
        │   ├── UnvouchedAccount        the account is named, and only the payer vouches for it
        │   ├── UnknownPayment          the payment has not arrived yet
        │   ├── UnknownPrice            a price is named only by its id
        │   └── NeedsApiKey             a thin event, and no API key
        └── NeedsPerson             failed: only an operator can resolve it
            ├── CustomerAmbiguous       two accounts have this customer
            ├── CustomerTaken           the account has another customer
            ├── UnknownPlan             a price names a plan that does not exist
            ├── AbsurdCredits           more credits than anybody sells
            ├── LinesIncomplete         some of an invoice's lines are missing
            ├── LineWithoutPeriod       a plan's line has no period
            └── AbsurdPeriod            a plan's line has too long a period

The first line of a docstring is the template of the error's message.
"""

from billing.errors import Rejected


class StripeRejected(Rejected):
    """The event was not applied."""


class SignatureRefused(StripeRejected):
    """The body was not signed by Stripe."""


class MissingSignature(SignatureRefused):
    """The request has no Stripe-Signature header."""


class MalformedSignature(SignatureRefused):
    """The Stripe-Signature header is malformed: it needs one time and a v1 signature."""


class BadSignature(SignatureRefused):
    """None of the {signatures} signatures fits the body with any of our {secrets} secrets."""


class StaleSignature(SignatureRefused):
    """The body was signed {age_s} seconds before it was received, which is too long."""


class FutureSignature(SignatureRefused):
    """The body was signed {ahead_s} seconds after it was received; check the clocks."""


class Unreadable(StripeRejected):
    """The body is not an event of Stripe's."""


class BodyTooLarge(Unreadable):
    """The body is larger than the limit of {most} bytes."""


class NotUtf8(Unreadable):
    """The body is not UTF-8 text; the first bad byte is at position {position}."""


class NotJson(Unreadable):
    """The body is not valid JSON."""


class NotAnEvent(Unreadable):
    """The JSON is not an event: {what}."""


class BadObject(StripeRejected):
    """The field {field} of the Stripe object is missing or malformed."""


class MissingObject(BadObject):
    """The event names no object: {field} is missing or malformed."""


class BadAmount(BadObject):
    """The field {field} is not a whole number in the expected range."""


class UnknownCurrency(BadObject):
    """The field {field} is not a currency code of ISO 4217."""


class NoneOfOurs(StripeRejected):
    """The event does not concern this worker."""


class UnhandledType(NoneOfOurs):
    """Events of this type have no effect here."""


class ByHand(NoneOfOurs):
    """{actor} ignored the event; its reason was {was}."""


class LivemodeMismatch(NoneOfOurs):
    """The object is of the other mode than this worker, whose live mode is {we_are_live}."""


class ForeignAccount(NoneOfOurs):
    """The event is from Stripe account {stripe_account}, which is not ours."""


class ForeignProduct(NoneOfOurs):
    """The object {object} contains no price that is linked to a plan or to credits."""


class DetachedMethod(NoneOfOurs):
    """The payment method {object} belongs to no customer any more."""


class StripeKnowsNone(NoneOfOurs):
    """Stripe does not know the object {object} any more."""


class Waits(StripeRejected):
    """The event waits until something becomes known."""


class UnknownCustomer(Waits):
    """No account is linked to the customer of object {object}."""


class UnvouchedAccount(Waits):
    """The object {object} names account {account_id} in a field that any payer can write."""


class UnknownPayment(Waits):
    """The payment that object {object} belongs to has not arrived yet."""


class UnknownPrice(Waits):
    """The object {object} names prices {prices}, which are not known yet."""


class NeedsApiKey(Waits):
    """The thin event carries no object, and without an API key {object} can't be fetched."""


class NeedsPerson(StripeRejected):
    """The event contradicts the known data; an operator must resolve it."""


class CustomerAmbiguous(NeedsPerson):
    """The accounts {accounts} all have the customer {customer}; keep one link."""


class CustomerTaken(NeedsPerson):
    """Account {account_id} can't be linked to {customer}: one of them is linked already."""


class UnknownPlan(NeedsPerson):
    """The price {price} names the plan {plan}, which does not exist."""


class AbsurdCredits(NeedsPerson):
    """The object {object} would buy {credits} credits; that is beyond any plan or pack."""


class LinesIncomplete(NeedsPerson):
    """Only {lines} lines of invoice {invoice} came; set an API key to fetch them all."""


class LineWithoutPeriod(NeedsPerson):
    """The line {line} of invoice {invoice} is for a plan and has no valid period."""


class AbsurdPeriod(NeedsPerson):
    """The line {line} of invoice {invoice} has a period of {seconds} seconds; check it."""
