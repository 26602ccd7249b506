import { SightlineError } from '../../base/errors.ts';
import { distanceOf, profileOf, type Profile } from './profiles.ts';
import { bad, sdpLines, type SdpSection } from './sdp-lines.ts';

/** What an offer of a viewer or of a publisher has, and what of it is taken. Pure. */

/** What the server does with pictures: to a viewer it sends them, of a publisher it gets them. */
export type Direction = 'sendonly' | 'recvonly';

/** For DTLS and ICE. */
export interface Transport {
  readonly ufrag: string;
  readonly password: string;
  readonly fingerprints: readonly string[];
  readonly setup: 'actpass' | 'active' | 'passive';
}

export interface H264Format {
  readonly payloadType: number;
  readonly profile: Profile;
  /** As it was offered: an answer must not differ in what it negotiates. */
  readonly parameters: string;
  /** Of lost packets that are sent again (RFC 4588). */
  readonly rtxPayloadType: number | undefined;
}

export interface OfferedMedium {
  readonly kind: string;
  readonly protocol: string;
  /** The first of its formats. */
  readonly format: string;
  readonly mid: string;
}

/** By which packets are known (SSRC): those of the pictures, and those that are sent again. */
export interface VideoSource {
  readonly media: number;
  readonly rtx: number | undefined;
}

export interface Offer {
  readonly direction: Direction;
  readonly media: readonly OfferedMedium[];
  readonly transport: Transport;
  /** Indices in `media`: the pictures, and the channel of data, which is not there unless it shares their transport. */
  readonly video: number;
  readonly data: number | undefined;
  readonly formats: readonly H264Format[];
  /** Of a publisher. */
  readonly source: VideoSource | undefined;
  /** Id of the extension with which a sender says how long a player may wait; undefined: it is not known to the player. */
  readonly playoutDelayId: number | undefined;
}

export const PLAYOUT_DELAY = 'http://www.webrtc.org/experiments/rtp-hdrext/playout-delay';
/** Of the clock of all video (RFC 6184, 8.1). */
const RATE = '90000';
/** One byte tells the length of an extension up to this id (RFC 8285). */
const EXTENSION_ID_MAX = 14;
const PAYLOAD_TYPE_MAX = 127;
const HASHES = ['sha-256', 'sha-384', 'sha-512'];
const FINGERPRINTS_MAX = 8;
/** RFC 8839: `ice-char`. */
const ICE_UFRAG = /^[A-Za-z0-9+/]{4,256}$/;
const ICE_PASSWORD = /^[A-Za-z0-9+/]{22,256}$/;
/** RFC 8866: `token`. */
const MID = /^[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64}$/;
const PARAMETERS = /^[\x20-\x7e]{1,512}$/;
const SOURCE_MAX = 2 ** 32 - 1;
const WORDS = {
  sendonly: { without: 'it asks for no video', unwilling: 'it has video, but none that it would receive' },
  recvonly: { without: 'it has no video', unwilling: 'it has video, but none that it would send' },
} as const;

/** Errors: SDP_BAD for what is no offer; SDP_UNFIT for one without what is needed: pictures in this direction, H.264, a shared transport, of a publisher the source of its packets. */
export function readOffer(text: string, direction: Direction): Offer {
  const { session, media: sections } = sdpLines(text);
  const media = sections.map(medium);
  const video = sections.findIndex((each, i) => media[i]!.kind === 'video' && isWilling(each, direction));
  if (video < 0) {
    const { without, unwilling } = WORDS[direction];
    throw unfit(media.some(({ kind }) => kind === 'video') ? unwilling : without);
  }
  const section = sections[video]!;
  const own = media[video]!;
  if (own.mid === '') throw bad('its video has no "mid"');
  if (!section.attributes.has('rtcp-mux')) throw unfit('its video has no "rtcp-mux"');
  if (!own.protocol.startsWith('UDP/TLS/RTP/'))
    throw unfit(`its video is ${JSON.stringify(own.protocol.slice(0, 40))}`);
  const formats = h264Formats(section);
  if (formats.length === 0) throw unfit('its video has no H.264 with packetization-mode 1');
  const source = direction === 'recvonly' ? sourceOf(section) : undefined;
  if (direction === 'recvonly' && !source) throw unfit('its video names no source of its packets ("ssrc")');
  const bundle = bundleOf(session, own.mid);
  const data = media.findIndex(
    ({ kind, protocol, mid }, i) =>
      kind === 'application' &&
      protocol === 'UDP/DTLS/SCTP' &&
      bundle.includes(mid) &&
      !isRejected(sections[i]!) &&
      sections[i]!.attributes.has('sctp-port'),
  );
  return {
    direction,
    media,
    transport: transportOf(session, section),
    video,
    data: data < 0 ? undefined : data,
    // What is sent again has to have a source of its own to be known by.
    formats: source && source.rtx === undefined ? formats.map(withoutRtx) : formats,
    source,
    playoutDelayId: direction === 'sendonly' ? extensionId(section, PLAYOUT_DELAY) : undefined,
  };
}

/** The offered format that fits a stream best, among such the first one; undefined: none does. */
export function formatFor(formats: readonly H264Format[], stream: Profile): H264Format | undefined {
  let best: { readonly format: H264Format; readonly distance: number } | undefined;
  for (const format of formats) {
    const distance = distanceOf(stream, format.profile);
    if (distance !== undefined && (best === undefined || distance < best.distance)) best = { format, distance };
  }
  return best?.format;
}

/** What is taken of an offer, as one that has nothing else in it: for the library that makes the connection. It names no address of the viewer. */
export function trimmedOffer(offer: Offer, format: H264Format): string {
  const { transport, source } = offer;
  const { mid } = offer.media[offer.video]!;
  const data = offer.data === undefined ? undefined : offer.media[offer.data]!.mid;
  const common = [
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${transport.ufrag}`,
    `a=ice-pwd:${transport.password}`,
    'a=ice-options:trickle',
    ...transport.fingerprints.map((value) => `a=fingerprint:${value}`),
    `a=setup:${transport.setup}`,
  ];
  return sdpText([
    'v=0',
    'o=- 1 1 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${[mid, ...(data === undefined ? [] : [data])].join(' ')}`,
    `m=video 9 UDP/TLS/RTP/SAVPF ${payloadTypes(format)}`,
    ...common,
    `a=mid:${mid}`,
    ...(source ? ['a=sendonly', ...sourceLines(source, 'publisher')] : ['a=recvonly']),
    'a=rtcp-mux',
    // The library asks a publisher for nothing by itself.
    ...formatLines(format, source ? [] : FEEDBACK),
    ...(data === undefined
      ? []
      : [
          'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
          ...common,
          `a=mid:${data}`,
          'a=sctp-port:5000',
          'a=max-message-size:65536',
        ]),
  ]);
}

/** The server's own end of a connection. */
export interface LocalEnd {
  readonly ufrag: string;
  readonly password: string;
  /** As `a=fingerprint` has it. */
  readonly fingerprints: readonly string[];
  readonly role: 'active' | 'passive';
  readonly candidates: readonly { readonly address: string; readonly port: number }[];
  readonly source: number;
  /** Of packets that are sent again. */
  readonly rtxSource: number;
  readonly name: string;
}

/** The answer to the whole offer: what is not taken of it is refused there. */
export function answerTo(offer: Offer, format: H264Format, local: LocalEnd): string {
  const { direction, video, data, playoutDelayId } = offer;
  const ownSource = { media: local.source, rtx: format.rtxPayloadType === undefined ? undefined : local.rtxSource };
  const isTaken = (i: number): boolean => i === video || i === data;
  const mids = offer.media.flatMap(({ mid }, i) => (isTaken(i) ? [mid] : []));
  const transport = [
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${local.ufrag}`,
    `a=ice-pwd:${local.password}`,
    'a=ice-options:trickle',
    ...local.fingerprints.map((value) => `a=fingerprint:${value}`),
    `a=setup:${local.role}`,
    ...local.candidates.map(
      ({ address, port }, i) => `a=candidate:${i + 1} 1 udp ${priorityOf(i)} ${address} ${port} typ host`,
    ),
    'a=end-of-candidates',
  ];
  const videoLines = [
    `m=video 9 UDP/TLS/RTP/SAVPF ${payloadTypes(format)}`,
    ...transport,
    `a=mid:${offer.media[video]!.mid}`,
    ...(playoutDelayId === undefined ? [] : [`a=extmap:${playoutDelayId} ${PLAYOUT_DELAY}`]),
    `a=${direction}`,
    'a=rtcp-mux',
    ...formatLines(format, FEEDBACK),
    ...(direction === 'sendonly' ? [`a=msid:${local.name} ${local.name}`, ...sourceLines(ownSource, local.name)] : []),
  ];
  const dataLines = (mid: string): string[] => [
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    ...transport,
    `a=mid:${mid}`,
    'a=sctp-port:5000',
    'a=max-message-size:65536',
  ];
  return sdpText([
    'v=0',
    'o=- 1 1 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${mids.join(' ')}`,
    ...offer.media.flatMap((each, i) => (i === video ? videoLines : i === data ? dataLines(each.mid) : refused(each))),
  ]);
}

function refused({ kind, protocol, format, mid }: OfferedMedium): string[] {
  return [
    `m=${kind} 0 ${protocol} ${format}`,
    'c=IN IP4 0.0.0.0',
    ...(mid === '' ? [] : [`a=mid:${mid}`]),
    'a=inactive',
  ];
}

/** What a fragment of a later moment (RFC 8840) says; undefined where it does not say it. Errors: SDP_BAD. */
export function readFragment(text: string): { readonly ufrag: string | undefined; readonly candidates: number } {
  const { session, media } = sdpLines(text, false);
  const sections = [session, ...media];
  const [ufrag] = sections.flatMap(({ attributes }) => attributes.get('ice-ufrag') ?? []);
  const candidates = sections.reduce((sum, { attributes }) => sum + (attributes.get('candidate')?.length ?? 0), 0);
  const isEnd = sections.some(({ attributes }) => attributes.has('end-of-candidates'));
  if (ufrag === undefined && candidates === 0 && !isEnd) throw bad('it has neither candidates nor credentials of ICE');
  return { ufrag, candidates };
}

function medium({ media, attributes }: SdpSection): OfferedMedium {
  const [, kind, protocol, format] =
    /^([a-z]{1,32}) \d{1,5}(?:\/\d+)? ([A-Za-z0-9/-]{1,64}) ([A-Za-z0-9-]{1,64})(?: |$)/.exec(media) ?? [];
  if (kind === undefined) throw bad(`"m=${media.slice(0, 60)}" cannot be read`);
  const [mid = ''] = attributes.get('mid') ?? [];
  if (mid !== '' && !MID.test(mid)) throw bad(`the mid ${JSON.stringify(mid.slice(0, 60))}`);
  return { kind, protocol: protocol!, format: format!, mid };
}

function isRejected({ media }: SdpSection): boolean {
  return / 0 /.test(media.slice(0, media.indexOf(' ', media.indexOf(' ') + 1) + 1));
}

/** Where the server sends the other end has to receive, and the other way round. */
function isWilling(section: SdpSection, direction: Direction): boolean {
  const { attributes } = section;
  return !isRejected(section) && !attributes.has('inactive') && !attributes.has(direction);
}

/** RFC 5576. Of several sizes of the same pictures (simulcast) the first. */
function sourceOf({ attributes }: SdpSection): VideoSource | undefined {
  const pairs = (attributes.get('ssrc-group') ?? []).map((value) => /^FID (\d{1,10}) (\d{1,10})$/.exec(value));
  const pair = pairs.find((found) => found !== null);
  const single = /^(\d{1,10})(?: |$)/.exec(attributes.get('ssrc')?.[0] ?? '');
  const [media, rtx] = pair ? [Number(pair[1]), Number(pair[2])] : [Number(single?.[1]), undefined];
  if (!isSource(media)) return undefined;
  return { media, rtx: rtx !== undefined && isSource(rtx) && rtx !== media ? rtx : undefined };
}

/** 0 is nobody's in the library. */
function isSource(number: number): boolean {
  return number > 0 && number <= SOURCE_MAX;
}

function sourceLines({ media, rtx }: VideoSource, name: string): string[] {
  if (rtx === undefined) return [`a=ssrc:${media} cname:${name}`];
  return [`a=ssrc-group:FID ${media} ${rtx}`, `a=ssrc:${media} cname:${name}`, `a=ssrc:${rtx} cname:${name}`];
}

function withoutRtx(format: H264Format): H264Format {
  return { ...format, rtxPayloadType: undefined };
}

/** The mids that share the transport of this one. */
function bundleOf({ attributes }: SdpSection, mid: string): readonly string[] {
  const groups = (attributes.get('group') ?? []).map((value) => value.split(' '));
  return groups.find(([semantics, ...mids]) => semantics === 'BUNDLE' && mids.includes(mid))?.slice(1) ?? [mid];
}

function h264Formats({ media, attributes }: SdpSection): H264Format[] {
  const types = media.split(' ').slice(3).map(Number);
  const values = (name: string, type: number): string | undefined =>
    attributes
      .get(name)
      ?.find((value) => value.startsWith(`${type} `))
      ?.slice(`${type} `.length);
  const rtxOf = (type: number): number | undefined =>
    types.find(
      (other) =>
        values('rtpmap', other)?.toLowerCase() === `rtx/${RATE}` &&
        /(?:^|;)\s*apt=(\d+)/.exec(values('fmtp', other) ?? '')?.[1] === String(type),
    );
  return types.flatMap((payloadType) => {
    if (!Number.isInteger(payloadType) || payloadType > PAYLOAD_TYPE_MAX) return [];
    if (values('rtpmap', payloadType)?.toLowerCase() !== `h264/${RATE}`) return [];
    const parameters = values('fmtp', payloadType) ?? '';
    const parameter = (name: string) => new RegExp(`(?:^|;)\\s*${name}=([^;\\s]*)`, 'i').exec(parameters)?.[1];
    // Where it is left out it is baseline (RFC 6184, 8.1).
    const profile = profileOf(parameter('profile-level-id') ?? '42000a');
    if (profile === undefined || parameter('packetization-mode') !== '1' || !PARAMETERS.test(parameters)) return [];
    return [{ payloadType, profile, parameters, rtxPayloadType: rtxOf(payloadType) }];
  });
}

function transportOf(session: SdpSection, section: SdpSection): Transport {
  const value = (name: string) => section.attributes.get(name)?.[0] ?? session.attributes.get(name)?.[0] ?? '';
  const [ufrag, password, setup] = [value('ice-ufrag'), value('ice-pwd'), value('setup') || 'actpass'];
  if (!ICE_UFRAG.test(ufrag) || !ICE_PASSWORD.test(password)) throw bad('it has no credentials of ICE');
  if (setup !== 'actpass' && setup !== 'active' && setup !== 'passive') throw bad('its "setup" is none of the three');
  const all = section.attributes.get('fingerprint') ?? session.attributes.get('fingerprint') ?? [];
  const fingerprints = all.filter(isFingerprint).slice(0, FINGERPRINTS_MAX);
  if (fingerprints.length === 0) throw bad(`it has no fingerprint of ${HASHES.join(', ')}`);
  return { ufrag, password, fingerprints, setup };
}

function isFingerprint(value: string): boolean {
  const [, hash] = /^(sha-\d{3}) (?:[0-9A-F]{2}:){31,63}[0-9A-F]{2}$/i.exec(value) ?? [];
  return hash !== undefined && HASHES.includes(hash.toLowerCase());
}

function extensionId({ attributes }: SdpSection, uri: string): number | undefined {
  for (const value of attributes.get('extmap') ?? []) {
    const [, id, name] = /^(\d{1,3})(?:\/\S+)? (\S+)/.exec(value) ?? [];
    if (name === uri && Number(id) >= 1 && Number(id) <= EXTENSION_ID_MAX) return Number(id);
  }
  return undefined;
}

/** What whoever gets the pictures may ask for: packets again, and a key frame. */
const FEEDBACK = ['nack', 'nack pli'];

function formatLines({ payloadType, parameters, rtxPayloadType }: H264Format, feedback: readonly string[]): string[] {
  return [
    `a=rtpmap:${payloadType} H264/${RATE}`,
    ...feedback.map((kind) => `a=rtcp-fb:${payloadType} ${kind}`),
    `a=fmtp:${payloadType} ${parameters}`,
    ...(rtxPayloadType === undefined
      ? []
      : [`a=rtpmap:${rtxPayloadType} rtx/${RATE}`, `a=fmtp:${rtxPayloadType} apt=${payloadType}`]),
  ];
}

function payloadTypes({ payloadType, rtxPayloadType }: H264Format): string {
  return rtxPayloadType === undefined ? String(payloadType) : `${payloadType} ${rtxPayloadType}`;
}

/** RFC 8445, 5.1.2.1: of a host, the first one before the others. */
function priorityOf(index: number): number {
  return 126 * 2 ** 24 + (65_535 - index) * 2 ** 8 + 255;
}

function sdpText(lines: readonly string[]): string {
  return `${lines.join('\r\n')}\r\n`;
}

function unfit(why: string): SightlineError {
  return new SightlineError('SDP_UNFIT', `the offer does not fit: ${why}`);
}
