// Element types of tensors and files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

enum class DType : std::uint8_t { f32, f64, bf16, i32, u16, u32 };

constexpr std::size_t size_of(DType dtype)
{
    switch (dtype) {
    case DType::f64: return 8;
    case DType::f32:
    case DType::i32:
    case DType::u32: return 4;
    case DType::bf16:
    case DType::u16: return 2;
    }
    return 0;
}

constexpr std::string_view name_of(DType dtype)
{
    switch (dtype) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::bf16: return "bf16";
    case DType::i32: return "i32";
    case DType::u16: return "u16";
    case DType::u32: return "u32";
    }
    return "?";
}

/// dtype_of<float> == DType::f32 and so on; for bf16 there is BFloat16 (core/bfloat16.hpp).
template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>()
{
    return DType::f32;
}
template <>
constexpr DType dtype_of<double>()
{
    return DType::f64;
}
template <>
constexpr DType dtype_of<std::int32_t>()
{
    return DType::i32;
}
template <>
constexpr DType dtype_of<std::uint16_t>()
{
    return DType::u16;
}
template <>
constexpr DType dtype_of<std::uint32_t>()
{
    return DType::u32;
}

} // namespace sluice
