/* float16 and bfloat16, one element at a time: integer arithmetic that vectorises. After real.h of 32 bits. */

/* IEEE half to single, by bits: the exponent is rebased; a subnormal is made by a subtraction that normalises it. */
FL_INLINE float fl_f16_to_f32(uint16_t half) {
    uint32_t bits = ((uint32_t)half & 0x7fff) << 13, exponent = bits & 0x0f800000;
    uint32_t normal = bits + (112u << 23) + (exponent == 0x0f800000 ? 112u << 23 : 0);
    float subnormal = r32_from_bits(bits + (113u << 23)) - r32_from_bits(113u << 23);
    uint32_t magnitude = exponent == 0 ? r32_to_bits(subnormal) : normal;
    return r32_from_bits(magnitude | ((uint32_t)half & 0x8000) << 16);
}

/* Single to half, to nearest, ties to even: the rounding is integer arithmetic for normal numbers and the addition of
 * 0.5 for those that become subnormal; from 65520 on the carry makes infinity. */
FL_INLINE uint16_t fl_f32_to_f16(float x) {
    uint32_t bits = r32_to_bits(x), magnitude = bits & 0x7fffffff;
    uint32_t normal = (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    uint32_t subnormal = r32_to_bits(r32_from_bits(magnitude) + 0.5f) - r32_to_bits(0.5f);
    uint32_t half = magnitude < (113u << 23) ? subnormal : normal;
    half = magnitude >= 0x477ff000 ? 0x7c00 : half;
    half = magnitude > 0x7f800000 ? 0x7e00 : half;
    return (uint16_t)(half | (bits >> 16 & 0x8000));
}

FL_INLINE float fl_bf16_to_f32(uint16_t half) { return r32_from_bits((uint32_t)half << 16); }

FL_INLINE uint16_t fl_f32_to_bf16(float x) {
    uint32_t bits = r32_to_bits(x);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16 | 0x40) : rounded);
}
