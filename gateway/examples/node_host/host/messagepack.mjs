// MessagePack, as much of it as the host protocol uses: maps, arrays, strings, numbers, booleans and nil.

export function encode(value) {
  if (value === null || value === undefined) return Buffer.of(0xc0);
  if (typeof value === "boolean") return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === "number") {
    const out = Buffer.alloc(9);
    if (Number.isSafeInteger(value)) {
      out[0] = 0xd3;
      out.writeBigInt64BE(BigInt(value), 1);
    } else {
      out[0] = 0xcb;
      out.writeDoubleBE(value, 1);
    }
    return out;
  }
  if (typeof value === "string") {
    const text = Buffer.from(value);
    return Buffer.concat([head(0xdb, text.length), text]);
  }
  if (Array.isArray(value)) return Buffer.concat([head(0xdd, value.length), ...value.map(encode)]);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Buffer.concat([head(0xdf, entries.length), ...entries.flatMap(([key, each]) => [encode(key), encode(each)])]);
}

function head(type, length) {
  const out = Buffer.alloc(5);
  out[0] = type;
  out.writeUInt32BE(length, 1);
  return out;
}

export function decode(raw) {
  let at = 0;
  const number = (bytes, read) => {
    at += bytes;
    return read.call(raw, at - bytes);
  };
  const u8 = () => number(1, raw.readUInt8);
  const u16 = () => number(2, raw.readUInt16BE);
  const u32 = () => number(4, raw.readUInt32BE);
  const bytes = (length) => {
    at += length;
    return raw.subarray(at - length, at);
  };
  const array = (length) => Array.from({ length }, () => value());
  const map = (length) => Object.fromEntries(Array.from({ length }, () => [value(), value()]));
  const value = () => {
    const type = u8();
    if (type < 0x80) return type;
    if (type < 0x90) return map(type & 0x0f);
    if (type < 0xa0) return array(type & 0x0f);
    if (type < 0xc0) return bytes(type & 0x1f).toString();
    if (type >= 0xe0) return type - 256;
    switch (type) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return bytes(u8());
      case 0xc5: return bytes(u16());
      case 0xc6: return bytes(u32());
      case 0xca: return number(4, raw.readFloatBE);
      case 0xcb: return number(8, raw.readDoubleBE);
      case 0xcc: return u8();
      case 0xcd: return u16();
      case 0xce: return u32();
      case 0xcf: return Number(number(8, raw.readBigUInt64BE));
      case 0xd0: return number(1, raw.readInt8);
      case 0xd1: return number(2, raw.readInt16BE);
      case 0xd2: return number(4, raw.readInt32BE);
      case 0xd3: return Number(number(8, raw.readBigInt64BE));
      case 0xd9: return bytes(u8()).toString();
      case 0xda: return bytes(u16()).toString();
      case 0xdb: return bytes(u32()).toString();
      case 0xdc: return array(u16());
      case 0xdd: return array(u32());
      case 0xde: return map(u16());
      case 0xdf: return map(u32());
      default: throw new Error(`MessagePack type ${type} is not read here`);
    }
  };
  return value();
}
