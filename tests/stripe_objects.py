"""Stripe's objects as its API of 2026-10-28 shows them, with the fields that we read; `changes` replace any.

Written for these tests after https://docs.stripe.com/api; tests/gateways/test_stripe_shapes.py holds
every field against the SDK, whose types Stripe generates from the API's own description.
"""

#: Noon of 2026-11-01.
NOW = 1_793_534_400
MONTH = 30 * 86_400


def listed(url, *data, has_more=False):
    return {"object": "list", "url": url, "has_more": has_more, "data": list(data)}


def _object(kind, object_id, **fields):
    return {"id": object_id, "object": kind, "created": NOW, "livemode": False, **fields}


def customer(object_id="cus_1", **changes):
    fields = {"email": "owner@example.com", "name": "Acme", "currency": "usd", "metadata": {}}
    return _object("customer", object_id, **fields | changes)


def payment_method(object_id="pm_1", **changes):
    card = {"brand": "visa", "fingerprint": "Xt5EWLLDS7FJjR1c", "last4": "4242"}
    fields = {"customer": "cus_1", "type": "card", "card": card, "metadata": {}}
    return _object("payment_method", object_id, **fields | changes)


def deleted(kind, object_id):
    return {"id": object_id, "object": kind, "deleted": True}


def product(object_id="prod_1", **changes):
    fields = {"name": "Starter", "active": True, "type": "service", "updated": NOW, "metadata": {}}
    return _object("product", object_id, **fields | changes)


def price(object_id="price_1", **changes):
    fields = {
        "active": True,
        "billing_scheme": "per_unit",
        "currency": "usd",
        "metadata": {},
        "product": "prod_1",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
        "type": "recurring",
        "unit_amount": 8900,
        "unit_amount_decimal": "8900",
    }
    return _object("price", object_id, **fields | changes)


def subscription_item(object_id="si_1", **changes):
    fields = {
        "id": object_id,
        "object": "subscription_item",
        "created": NOW,
        "current_period_start": NOW,
        "current_period_end": NOW + MONTH,
        "metadata": {},
        "price": price(),
        "quantity": 1,
        "subscription": "sub_1",
    }
    return fields | changes


def subscription(object_id="sub_1", *, items=None, **changes):
    fields = {
        "cancel_at_period_end": False,
        "canceled_at": None,
        "collection_method": "charge_automatically",
        "currency": "usd",
        "customer": "cus_1",
        "items": listed("/v1/subscription_items", *(items or [subscription_item()])),
        "latest_invoice": "in_1",
        "metadata": {},
        "start_date": NOW,
        "status": "active",
        "trial_end": None,
    }
    return _object("subscription", object_id, **fields | changes)


def line(object_id="il_1", **changes):
    fields = {
        "id": object_id,
        "object": "line_item",
        "amount": 8900,
        "currency": "usd",
        "discountable": True,
        "livemode": False,
        "metadata": {},
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "proration": False,
                "subscription": "sub_1",
                "subscription_item": "si_1",
            },
        },
        "period": {"start": NOW, "end": NOW + MONTH},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": "price_1", "product": "prod_1"},
            "unit_amount_decimal": "8900",
        },
        "quantity": 1,
        "subtotal": 8900,
    }
    return fields | changes


def invoice_payment(object_id="inpay_1", **changes):
    fields = {
        "amount_paid": 8900,
        "amount_requested": 8900,
        "currency": "usd",
        "invoice": "in_1",
        "is_default": True,
        "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": NOW},
    }
    return _object("invoice_payment", object_id, **fields | changes)


def invoice(object_id="in_1", *, lines=None, payments=None, **changes):
    path = f"/v1/invoices/{object_id}/lines"
    fields = {
        "amount_due": 8900,
        "amount_paid": 8900,
        "amount_remaining": 0,
        "billing_reason": "subscription_cycle",
        "currency": "usd",
        "customer": "cus_1",
        "lines": listed(path, *(lines or [line()])),
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"metadata": {}, "subscription": "sub_1"},
        },
        "payments": listed("/v1/invoice_payments", *(payments or [invoice_payment()])),
        "period_start": NOW - MONTH,
        "period_end": NOW,
        "status": "paid",
        "subtotal": 8900,
        "total": 8900,
    }
    return _object("invoice", object_id, **fields | changes)


def checkout_session(object_id="cs_test_1", *, line_items=None, **changes):
    item = {
        "id": "li_1",
        "object": "item",
        "amount_total": 8900,
        "currency": "usd",
        "price": price(),
        "quantity": 1,
    }
    fields = {
        "amount_total": 8900,
        "client_reference_id": "29",
        "currency": "usd",
        "customer": "cus_1",
        "invoice": "in_1",
        "line_items": listed(
            f"/v1/checkout/sessions/{object_id}/line_items", *(line_items or [item])
        ),
        "metadata": {},
        "mode": "subscription",
        "payment_intent": None,
        "payment_status": "paid",
        "status": "complete",
        "subscription": "sub_1",
    }
    return _object("checkout.session", object_id, **fields | changes)


def refund(object_id="re_1", **changes):
    fields = {
        "id": object_id,
        "object": "refund",
        "amount": 8900,
        "charge": "ch_1",
        "created": NOW,
        "currency": "usd",
        "metadata": {},
        "payment_intent": "pi_1",
        "reason": None,
        "status": "succeeded",
    }
    return fields | changes


def credit_note(object_id="cn_1", **changes):
    fields = {
        "amount": 4450,
        "currency": "usd",
        "customer": "cus_1",
        "customer_balance_transaction": None,
        "invoice": "in_1",
        "metadata": {},
        "out_of_band_amount": None,
        "post_payment_amount": 4450,
        "pre_payment_amount": 0,
        "refunds": [{"amount_refunded": 4450, "refund": "re_1", "type": "refund"}],
        "status": "issued",
        "type": "post_payment",
    }
    return _object("credit_note", object_id, **fields | changes)


def charge(object_id="ch_1", *, refunds=(), **changes):
    fields = {
        "amount": 8900,
        "amount_captured": 8900,
        "amount_refunded": sum(each["amount"] for each in refunds),
        "captured": True,
        "currency": "usd",
        "customer": "cus_1",
        "disputed": False,
        "metadata": {},
        "paid": True,
        "payment_intent": "pi_1",
        "refunded": False,
        "refunds": listed(f"/v1/charges/{object_id}/refunds", *refunds),
        "status": "succeeded",
    }
    return _object("charge", object_id, **fields | changes)


def dispute(object_id="du_1", **changes):
    fields = {
        "amount": 8900,
        "charge": "ch_1",
        "currency": "usd",
        "metadata": {},
        "payment_intent": "pi_1",
        "reason": "fraudulent",
        "status": "needs_response",
    }
    return _object("dispute", object_id, **fields | changes)


def payment_intent(object_id="pi_1", **changes):
    fields = {
        "amount": 8900,
        "amount_received": 8900,
        "currency": "usd",
        "customer": "cus_1",
        "latest_charge": "ch_1",
        "metadata": {},
        "status": "succeeded",
    }
    return _object("payment_intent", object_id, **fields | changes)


def event(object_id="evt_1", kind="invoice.paid", *, about=None, **changes):
    fields = {
        "api_version": "2026-10-28.endive",
        "data": {"object": about or invoice()},
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    return _object("event", object_id, **fields | changes)


def v2_event(object_id="evt_test_65U1", **changes):
    """A thin event as its retrieval shows it; times are texts in Stripe's API v2."""
    fields = {
        "id": object_id,
        "object": "v2.core.event",
        "context": None,
        "created": "2026-11-01T12:00:00.000Z",
        "livemode": False,
        "reason": None,
        "type": "v1.billing.meter.error_report_triggered",
        "related_object": {
            "id": "mtr_1",
            "type": "billing.meter",
            "url": "/v1/billing/meters/mtr_1",
        },
        "data": {"developer_message_summary": "There is 1 invalid event"},
    }
    return fields | changes
