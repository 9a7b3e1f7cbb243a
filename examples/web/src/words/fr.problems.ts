import { ErrorReason } from "../gen/disputes/v1/error_pb";
import type { ProblemWords } from "./en.problems";

export const outOfRange = (min: string, max: string): string => `Le montant doit être compris entre ${min} et ${max}.`;

const tryAgain = "Le service est très sollicité. Rien n’est perdu : réessayez dans un instant.";
const signIn = "Le service ne sait pas qui vous êtes. Identifiez-vous de nouveau.";
const defect = "Cette page et le service ne se comprennent pas. Veuillez recharger la page.";

export const problems: ProblemWords = {
  [ErrorReason.UNSPECIFIED]: "Une erreur s’est produite.",
  [ErrorReason.INVALID_FIELD]: "Certains champs sont à corriger.",
  [ErrorReason.AMOUNT_OUT_OF_RANGE]: (f) => outOfRange(f.amount("minAmount"), f.amount("maxAmount")),
  [ErrorReason.REASON_NOT_VALID]: "Choisissez l’un des motifs.",
  [ErrorReason.REQUEST_ID_REUSED]: defect,
  [ErrorReason.PAGE_TOKEN_INVALID]: defect,
  [ErrorReason.RESUME_TOKEN_MALFORMED]: defect,
  [ErrorReason.MESSAGE_MALFORMED]: defect,
  [ErrorReason.CREDENTIAL_MISSING]: signIn,
  [ErrorReason.CREDENTIAL_INVALID]: signIn,
  [ErrorReason.CREDENTIAL_EXPIRED]: signIn,
  [ErrorReason.WRONG_ROLE]: "Votre rôle dans cette commande ne le permet pas.",
  [ErrorReason.SCOPE_MISSING]: (f) => `Réservé à : ${f.text("scope")}.`,
  [ErrorReason.ORDER_NOT_FOUND]: (f) => `Vous n’avez accès à aucune commande ${f.text("orderId")}.`,
  [ErrorReason.DISPUTE_NOT_FOUND]: "Vous n’avez accès à aucun litige de ce numéro.",
  [ErrorReason.ORDER_STATUS_NOT_ALLOWED]: "Le statut de la commande ne le permet pas.",
  [ErrorReason.OPEN_DISPUTE_EXISTS]: "Un autre litige est ouvert sur cette commande et doit d’abord être résolu.",
  [ErrorReason.REFUND_ALREADY_ACCEPTED]: "Un remboursement partiel a déjà été accepté sur cette commande.",
  [ErrorReason.REFUND_CAP_BELOW_MINIMUM]: "Le montant de la commande est trop faible pour un remboursement partiel.",
  [ErrorReason.STATUS_NOT_ALLOWED]: "Le statut du litige ne le permet plus.",
  [ErrorReason.DEADLINE_PASSED]: (f) => `Le délai de réponse a pris fin le ${f.time("respondBy")}.`,
  [ErrorReason.WRONG_KIND]: "Cela ne s’applique pas à ce type de litige.",
  [ErrorReason.COOL_DOWN]: (f) => `Un litige semblable vient de prendre fin. Vous pourrez réessayer à partir du ${f.time("retryTime")}.`,
  [ErrorReason.TOO_MANY_ATTEMPTS]: (f) => `Cela a été demandé ${f.text("attempts")} fois sur cette commande ; le maximum est ${f.text("max")}.`,
  [ErrorReason.ESCALATION_WINDOW_CLOSED]: (f) => `Le délai pour saisir l’assistance a pris fin le ${f.time("closedTime")}.`,
  [ErrorReason.NOTHING_TO_SETTLE]: "Il n’y a pas de remboursement à verser.",
  [ErrorReason.ORDER_IDENTITY_CHANGED]: "L’acheteur, le vendeur et le prix d’une commande ne changent jamais.",
  [ErrorReason.ETAG_MISMATCH]: "Le litige a changé pendant votre lecture. Voici où il en est : vérifiez, puis envoyez de nouveau.",
  [ErrorReason.RESUME_TOKEN_EXPIRED]: "Tout a été rechargé.",
  [ErrorReason.RESUME_TOKEN_UNKNOWN]: "Tout a été rechargé.",
  [ErrorReason.TOO_MANY_SUBSCRIPTIONS]: "Vous avez trop de pages ouvertes. Fermez-en quelques-unes.",
  [ErrorReason.OVERLOADED]: tryAgain,
  [ErrorReason.MESSAGE_TOO_LARGE]: "C’est trop long pour être envoyé.",
  [ErrorReason.STORAGE_UNAVAILABLE]: "Le service n’atteint pas sa base de données. Vous pouvez renvoyer sans risque dans un instant.",
  [ErrorReason.SERVER_DRAINING]: "Le service redémarre. Vous pouvez renvoyer sans risque dans un instant.",
  [ErrorReason.DEADLINE_EXCEEDED]: "Le service n’a pas répondu à temps. Vous pouvez renvoyer sans risque.",
  [ErrorReason.METHOD_UNKNOWN]: "Ce service ne sait pas le faire.",
  [ErrorReason.INTERNAL]: (f) => `Une erreur interne s’est produite. Indiquez ce numéro à l’assistance : ${f.text("correlationId")}.`,
  [ErrorReason.HEADERS_TOO_LARGE]: defect,
  [ErrorReason.ENCODING_NOT_SUPPORTED]: defect,
  [ErrorReason.SETTLED_TWICE]: "Le remboursement a déjà été versé.",
  [ErrorReason.NEWER_RELEASE_NEEDED]: tryAgain,
  [ErrorReason.RATE_LIMITED]: "C’était trop rapide. Attendez un instant, puis réessayez.",
  [ErrorReason.CLOCK_UNCERTAIN]: "L’horloge du service est en cours de vérification. Réessayez dans un instant.",
  [ErrorReason.ORIGIN_NOT_ALLOWED]: "Le service n’accepte pas de demandes venant de ce site.",
  [ErrorReason.SERVICE_UNKNOWN]: defect,
  [ErrorReason.TOO_MANY_ROUNDS]: (f) => `Le maximum de ${f.text("max")} contre-offres est atteint.`,
  [ErrorReason.NO_FAULT_NOT_AVAILABLE]: "Le vendeur a épuisé ses annulations sans tort imputé.",
};
