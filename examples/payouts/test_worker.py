"""The worker pays once, whatever the provider and the service do: see test_kills.py for how to run the tests."""

import asyncio
import os
import sys

# First: it says where the generated code is.
from testbed import HERE, Case, free_port  # isort: skip

import marketplace
from disputes.v1.dispute_service_pb2 import ReportSettlementRequest, Voided
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub


class Refunds(Case):
    async def test_a_pending_refund_is_not_reported(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            # The provider signed this when the refund had succeeded, it seems. It asks the provider again.
            old = self.about("re_1", "succeeded")
            self.assertEqual(await self.send_webhook(old, self.signed(old)), 200)
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))
            await self.control("refunds/re_1", status="succeeded")
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_a_returned_refund_is_paid_again_once(self):
        await self.control("settings", outcomes=[["succeeded", "failed"]])
        async with self.worker():
            dispute = await self.refund()
            await self.until_settled(dispute, attempt=2)
        await self.assert_paid_once(dispute, "SETTLED", "SETTLEMENT_RETURNED", "SETTLED")

    async def test_webhooks_in_the_wrong_order(self):
        await self.control("settings", outcomes=[[]], hold=True, times=2)
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            await self.control("refunds/re_1", status="succeeded")
            await self.control("refunds/re_1", status="failed")
            await self.control("settings", hold=False)  # "succeeded" comes last
            await self.until_settled(dispute, attempt=2)
        await self.assert_paid_once(dispute, "SETTLEMENT_FAILED", "SETTLED")

    async def test_reports_that_overtake_each_other(self):
        await self.control("settings", outcomes=[[], []])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            await self.control("settings", gets=[0.5])  # what the worker reads about "succeeded" arrives late
            await self.control("refunds/re_1", status="succeeded")
            await self.until(lambda: not self.fake.settings["gets"])
            await self.control("refunds/re_1", status="failed")
            await self.until_logged("refund created dispute=" + dispute + " attempt=2")
            await self.until_logged("status=succeeded")
            await self.control("refunds/re_2", status="succeeded")
            await self.until_settled(dispute, attempt=2)
        self.assertEqual(self.paid(dispute), {1: 1, 2: 1}, self.log.read_text())

    async def test_a_refund_that_succeeds_after_all_is_not_followed_by_another(self):
        await self.control("settings", outcomes=[["failed"]], creates=["", *["busy"] * 10_000])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("429")
            self.assertEqual(await self.settlement(dispute), ("FAILED", 2))
            await self.control("settings", hold=True)  # no webhook tells
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("already there")
            await self.control("settings", creates=[], hold=False)
            await self.until_settled(dispute)
        self.assertEqual(self.paid(dispute), {1: 1})

    async def test_paid_twice_needs_a_person(self):
        await self.control("settings", outcomes=[["failed"]])
        async with self.worker():
            dispute = await self.refund()
            await self.until_settled(dispute, attempt=2)
            before = len(self.fake.answers)
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("NEEDS A PERSON: the buyer was paid twice")
            await self.until_settled(dispute, attempt=2)
            self.assertEqual(self.fake.answers[before:], [200])
        both = f"dispute={dispute} attempt=1 refund=re_1 status=succeeded reason=SETTLED_TWICE service_attempt=2"
        self.assertIn(both, self.log.read_text())
        await self.assert_paid_once(dispute, "SETTLEMENT_FAILED", "SETTLED")

    async def test_a_refund_that_is_not_what_is_due_is_not_reported(self):
        for name, value, why in [
            ("amount", {"value": "0.01", "currency": "EUR"}, "the refund is not of 12.5 USD"),
            ("payment", "another", "the refund is not of 12.5 USD"),
            ("status", "canceled", "the refund has a status that is not known"),
        ]:
            await self.control("settings", outcomes=[[]])
            dispute = await self.refund()
            async with self.worker():
                await self.until_logged("refund created dispute=" + dispute)
                refund = next(refund for refund in self.fake.refunds.values() if dispute in refund["reference"])
                refund["status"] = "succeeded"
                refund[name] = value
                body = self.about(refund["id"], "succeeded")
                self.assertEqual(await self.send_webhook(body, self.signed(body)), 200)
                await self.until_logged(f"NEEDS A PERSON: {why}")
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))

    async def test_a_second_refund_of_an_attempt_needs_a_person_and_changes_nothing(self):
        async with self.worker():
            dispute = await self.refund()
            await self.until_settled(dispute)
            self.fake.refunds["re_2"] = {**self.fake.refunds["re_1"], "id": "re_2"}
            body = self.about("re_2", "succeeded")
            self.assertEqual(await self.send_webhook(body, self.signed(body)), 200)
            await self.until_logged("NEEDS A PERSON: the buyer was paid twice")
            self.fake.refunds["re_2"]["status"] = "failed"
            self.assertEqual(await self.send_webhook(body, self.signed(body)), 200)
            self.assertEqual(await self.settlement(dispute), ("SETTLED", 1))

    async def test_money_after_it_was_voided_needs_a_person(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            await self.void(dispute)
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("NEEDS A PERSON: the buyer was paid although the refund was voided")
            await self.control("refunds/re_1", status="failed")  # and has given it back
            await self.until(self.fake.is_quiet)
            self.assertEqual(self.fake.answers, [200, 200])
        self.assertEqual(await self.settlement(dispute), ("VOIDED", 1))
        self.assertEqual(self.log.read_text().count("NEEDS A PERSON"), 1)

    async def test_a_refund_that_is_voided_between_two_tries_is_not_paid(self):
        await self.control("settings", creates=["busy"] * 10_000)
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("429")
            await self.void(dispute)
            await asyncio.sleep(0.5)  # past the longest delay
            await self.control("settings", creates=[])
            await asyncio.sleep(0.5)
        self.assertEqual(self.paid(dispute), {})

    async def void(self, dispute):
        request = ReportSettlementRequest(dispute_id=dispute, voided=Voided(detail="Paid in cash."))
        await DisputeServiceStub(self.channel).ReportSettlement(request, metadata=marketplace.PLATFORM)

    async def test_three_attempts_then_a_person(self):
        await self.control("settings", outcomes=[["failed"]] * 4)
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("NEEDS A PERSON: every attempt has failed")
        self.assertEqual(await self.settlement(dispute), ("FAILED", 4))
        self.assertEqual(self.paid(dispute), {1: 1, 2: 1, 3: 1})

    async def test_a_refusal_is_tried_again_with_the_next_sweep(self):
        await self.control("settings", creates=["refused"])
        dispute = await self.refund()
        async with self.worker(worker__SWEEP_INTERVAL=1.0):
            await self.until_logged("NEEDS A PERSON: not paid")
            self.assertEqual(self.fake.creates, 1)
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))
            await self.control("forget-keys")  # and somebody has filled up the account
            await self.until_settled(dispute)
        self.assertEqual(self.fake.creates, 2)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_a_provider_that_takes_longer_than_the_worker_waits(self):
        await self.control("settings", creates=["slow"])
        dispute = await self.refund()
        async with self.worker(payments__TIMEOUT=0.5):
            await self.until(lambda: self.fake.creates > 1)
            await self.control("settings", slow_seconds=0)
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")
        self.assertNotIn("NEEDS A PERSON", self.log.read_text())

    async def test_a_provider_that_is_away(self):
        await self.stop_provider()
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("trying again")
            await self.start_provider()
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_only_a_webhook_leads_to_a_report(self):
        self.fake.webhook_url = f"http://127.0.0.1:{free_port()}/"
        dispute = await self.refund()
        async with self.worker(worker__SWEEP_INTERVAL=0.5, worker__PATIENCE=1.0):
            await self.until_logged("already there dispute=" + dispute + " attempt=1 refund=re_1 status=succeeded")
            await self.until_logged("NEEDS A PERSON: no webhook tells about a refund")
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))
            self.fake.webhook_url = f"http://127.0.0.1:{self.webhook_port}/webhooks"
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_many_refunds_a_few_at_a_time(self):
        disputes = [await self.refund() for _ in range(30)]
        await self.control("settings", creates=["slow"] * 30, slow_seconds=0.1)
        async with self.worker(worker__PAGE_SIZE=7):
            for dispute in disputes:
                await self.until_settled(dispute)
        for dispute in disputes:
            await self.assert_paid_once(dispute, "SETTLED")
        self.assertLessEqual(self.fake.most_at_once, 8)

    async def test_two_workers(self):
        async with self.worker(), self.worker(webhook_port=free_port()):
            disputes = [await self.refund() for _ in range(20)]
            for dispute in disputes:
                await self.until_settled(dispute)
        for dispute in disputes:
            await self.assert_paid_once(dispute, "SETTLED")


class Service(Case):
    async def test_away_when_a_webhook_comes(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker(worker__WEBHOOK_TIMEOUT=0.5):
            await self.until_logged("refund created")
            await self.stop_service()
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("webhook not handled")
            await self.start_service()
            await self.until_settled(dispute)
        answers = self.fake.answers
        self.assertEqual((set(answers[:-1]), answers[-1]), ({503}, 200))
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_another_log(self):
        async with self.worker():
            await self.until_settled(await self.refund())
            await self.stop_service()
            for file in self.folder.glob("disputes.db*"):
                file.unlink()
            await self.start_service()
            dispute = await self.refund()  # the watch may have reconnected, or not
            await self.until_logged("RESUME_TOKEN_UNKNOWN")
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_the_worker_ends_when_it_is_told_to_or_cannot_go_on(self):
        for changed, status, text in (
            ({"WEBHOOK_SECRET": ""}, 2, "Set WEBHOOK_SECRET."),
            ({"DISPUTES_USER_ID": "?"}, 1, "CREDENTIAL_INVALID"),
            ({}, 0, "stopped"),
        ):
            worker = await asyncio.create_subprocess_exec(
                *(sys.executable, str(HERE / "worker.py")),
                env={**os.environ, **self.environment(), **changed},
                stderr=asyncio.subprocess.PIPE,
            )
            if status == 0:
                self.assertIn(b"listening on", await worker.stderr.readline())
                worker.terminate()
            _, log = await worker.communicate()
            self.assertEqual(worker.returncode, status, log)
            self.assertIn(text, log.decode())


class Webhooks(Case):
    async def test_hostile_ones(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker(worker__WEBHOOK_TIMEOUT=1.0):
            await self.until_logged("refund created")
            # Taken at its word, or looked up, each of these would have something to report.
            self.fake.refunds["re_1"]["status"] = "succeeded"
            good = self.about("re_1", "succeeded")
            signature = self.signed(good)["Webhook-Signature"]
            self.assertEqual(await self.send_webhook(good), 400)
            for headers in (
                self.signed(good, secret="another"),
                self.signed(good, secret=""),
                self.signed(good + b" "),
                self.signed(good, age=400),
                self.signed(good, age=-400),
            ):
                self.assertEqual(await self.send_webhook(good, headers), 400, headers)
            when, right = signature.split(",")
            zero = f"v1={'0' * 64}"
            for hostile in (
                *("", "t=,v1=", when, right, f"{when},{zero}", signature.upper(), f"{signature},", f" {signature}"[:80]),
                *(f"t=nan,{zero}", f"t=\N{ARABIC-INDIC DIGIT ONE},{zero}", f"t={'9' * 5_000},{zero}"),
            ):
                self.assertEqual(await self.send_webhook(good, {"Webhook-Signature": hostile}), 400, hostile)
            # Signed by the provider, and yet no use.
            for body, status in (
                *((body, 400) for body in (b"", b"{", b"\xff\xfe", b"[" * 60_000)),
                *((body, 200) for body in (b"[]", b"null", b"{}", b'{"type": "refund.updated", "data": {"id": 1}}')),
                (b'{"type": "payment.updated", "data": {"id": "re_1"}}', 200),
                *((self.about(refund, "succeeded"), 503) for refund in ("../control", "re_99")),
            ):
                self.assertEqual(await self.send_webhook(body, self.signed(body)), status, body[:80])
            large = good + b" " * 70_000
            self.assertEqual(await self.send_webhook(large, self.signed(large)), 413)
            # One that never ends.
            reader, writer = await asyncio.open_connection("127.0.0.1", self.webhook_port)
            writer.write(b"POST /webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            self.assertIn(b"503", await asyncio.wait_for(reader.readline(), 10))
            writer.close()
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))
            # While a secret is being replaced, one of two signatures is good.
            self.assertEqual(await self.send_webhook(good, {"Webhook-Signature": f"{when},{zero},{right}"}), 200)
            self.assertEqual(await self.settlement(dispute), ("SETTLED", 1))
            # What was recorded and is sent again says nothing new.
            self.assertEqual(await self.send_webhook(good, {"Webhook-Signature": signature}), 200)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_refunds_of_others(self):
        dispute = await self.refund()
        strange = f"refund-{dispute}-7"  # the service has not given it
        unknown = "refund-00000000-0000-7000-8000-000000000000-1"
        async with self.worker():
            await self.until_settled(dispute)
            body = self.about("re_x", "succeeded")
            for reference in ("", "order-1", f"refund-{dispute}-0", f"refund-{dispute}-1-1", strange, unknown):
                self.fake.refunds["re_x"] = {"id": "re_x", "reference": reference, "status": "succeeded"}
                self.assertEqual(await self.send_webhook(body, self.signed(body)), 200, reference)
            del self.fake.refunds["re_x"]
            log = self.log.read_text()
            self.assertEqual((log.count("not ours"), log.count("NEEDS A PERSON")), (4, 2), log)
        await self.assert_paid_once(dispute, "SETTLED")
