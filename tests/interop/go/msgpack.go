package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// As much of MessagePack as PROTOCOL.md section 4 needs.

func encode(b []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, 0xc0)
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case int:
		if v >= 0 && v < 128 {
			return append(b, byte(v))
		}
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
	case string:
		return append(binary.BigEndian.AppendUint16(append(b, 0xda), uint16(len(v))), v...)
	case []any:
		b = binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(len(v)))
		for _, each := range v {
			b = encode(b, each)
		}
		return b
	case map[string]any:
		b = binary.BigEndian.AppendUint16(append(b, 0xde), uint16(len(v)))
		for key, each := range v {
			b = encode(encode(b, key), each)
		}
		return b
	}
	panic(fmt.Sprintf("no MessagePack for %T", value))
}

type decoder struct{ rest []byte }

func decode(b []byte) (map[string]any, error) {
	d := decoder{b}
	value, err := d.value()
	if err != nil {
		return nil, err
	}
	message, ok := value.(map[string]any)
	if !ok || len(d.rest) > 0 {
		return nil, errors.New("a message is one map")
	}
	return message, nil
}

func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.rest) {
		return nil, errors.New("a message is cut short")
	}
	taken := d.rest[:n]
	d.rest = d.rest[n:]
	return taken, nil
}

func (d *decoder) uint(bytes int) (int, error) {
	b, err := d.take(bytes)
	n := 0
	for _, each := range b {
		n = n<<8 | int(each)
	}
	return n, err
}

func (d *decoder) value() (any, error) {
	head, err := d.take(1)
	if err != nil {
		return nil, err
	}
	switch h := head[0]; {
	case h < 0x80:
		return int(h), nil
	case h >= 0xe0:
		return int(int8(h)), nil
	case h < 0x90:
		return d.fields(int(h&0x0f), nil)
	case h < 0xa0:
		return d.items(int(h&0x0f), nil)
	case h < 0xc0:
		return d.text(int(h&0x1f), nil)
	case h == 0xc0:
		return nil, nil
	case h == 0xc2, h == 0xc3:
		return h == 0xc3, nil
	case h == 0xca:
		bits, err := d.uint(4)
		return float64(math.Float32frombits(uint32(bits))), err
	case h == 0xcb:
		bits, err := d.uint(8)
		return math.Float64frombits(uint64(bits)), err
	case h >= 0xcc && h <= 0xcf:
		return d.uint(1 << (h - 0xcc))
	case h >= 0xd0 && h <= 0xd3:
		n, err := d.uint(1 << (h - 0xd0))
		shift := 64 - 8<<(h-0xd0)
		return n << shift >> shift, err
	case h >= 0xd9 && h <= 0xdb:
		return d.text(d.uint(1 << (h - 0xd9)))
	case h == 0xdc || h == 0xdd:
		return d.items(d.uint(2 << (h - 0xdc)))
	case h == 0xde || h == 0xdf:
		return d.fields(d.uint(2 << (h - 0xde)))
	default:
		return nil, fmt.Errorf("no message holds the MessagePack type %#x", h)
	}
}

func (d *decoder) text(n int, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	b, err := d.take(n)
	return string(b), err
}

func (d *decoder) items(n int, err error) (any, error) {
	items := []any{}
	for ; err == nil && n > 0; n-- {
		var item any
		item, err = d.value()
		items = append(items, item)
	}
	return items, err
}

func (d *decoder) fields(n int, err error) (any, error) {
	fields := map[string]any{}
	for ; err == nil && n > 0; n-- {
		var key, value any
		if key, err = d.value(); err == nil {
			value, err = d.value()
			fields[fmt.Sprint(key)] = value
		}
	}
	return fields, err
}
