// ldmatrix and mma.sync m16n8k16 as PTX ISA 8 defines them, lane by lane.
#include "tests/layers/kernels/cuda/device_language_emulated.hpp"

namespace sluice::kernels::emulated {

namespace {

struct MatrixLoad {
    const void* row;
    std::uint32_t fragment[4];
};

/// Lanes 8 i to 8 i + 7 hold the addresses of the eight rows (16 bytes) of matrix i. Lane l gets of
/// each matrix elements 2 (l % 4) and the next of row l / 4; transposed: the same of columns.
template <bool transposed>
void load_matrices(void* const* lanes)
{
    for (int matrix = 0; matrix < 4; ++matrix) {
        std::uint16_t elements[8][8];
        for (int row = 0; row < 8; ++row)
            std::memcpy(elements[row], static_cast<MatrixLoad*>(lanes[8 * matrix + row])->row, 16);
        for (int lane = 0; lane < 32; ++lane) {
            const int major = lane / 4, minor = lane % 4 * 2;
            const std::uint16_t low = transposed ? elements[minor][major] : elements[major][minor];
            const std::uint16_t high =
                transposed ? elements[minor + 1][major] : elements[major][minor + 1];
            static_cast<MatrixLoad*>(lanes[lane])->fragment[matrix] =
                low | static_cast<std::uint32_t>(high) << 16;
        }
    }
}

template <bool transposed>
void load_matrix(const char* name, std::uint32_t (&fragment)[4], const void* row)
{
    check_alignment<std::byte, 16>(static_cast<const std::byte*>(row));
    BlockExecutor::current().note_warp_read(row, 16, __builtin_return_address(0));
    MatrixLoad own{row, {}};
    BlockExecutor::current().together(name, &own, load_matrices<transposed>);
    std::memcpy(fragment, own.fragment, sizeof own.fragment);
}

struct Product {
    float* c;
    const std::uint32_t* a;
    std::uint32_t b[2];
};

float half(std::uint32_t packed, int index)
{
    return float_of(BFloat16{static_cast<std::uint16_t>(packed >> (16 * index))});
}

void multiply(void* const* lanes)
{
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const auto& product = *static_cast<const Product*>(lanes[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int i = 0; i < 8; ++i) // a0 a1 | a2 a3 | a4 a5 | a6 a7
            a[group + (i / 2 % 2 == 1 ? 8 : 0)][member * 2 + i % 2 + (i >= 4 ? 8 : 0)] =
                half(product.a[i / 2], i % 2);
        for (int i = 0; i < 4; ++i)
            b[member * 2 + i % 2 + (i >= 2 ? 8 : 0)][group] = half(product.b[i / 2], i % 2);
    }
    for (int lane = 0; lane < 32; ++lane) {
        const auto& product = *static_cast<const Product*>(lanes[lane]);
        const int group = lane / 4, member = lane % 4;
        for (int i = 0; i < 4; ++i) {
            const int row = group + (i >= 2 ? 8 : 0), column = member * 2 + i % 2;
            float sum = product.c[i];
            for (int k = 0; k < 16; ++k)
                sum += a[row][k] * b[k][column];
            product.c[i] = sum;
        }
    }
}

} // namespace

void load_matrix_x4(std::uint32_t (&fragment)[4], const void* row)
{
    load_matrix<false>("load_matrix_x4", fragment, row);
}

void load_matrix_x4_t(std::uint32_t (&fragment)[4], const void* row)
{
    load_matrix<true>("load_matrix_x4_t", fragment, row);
}

void mma_16x8x16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1)
{
    Product own{c, a, {b0, b1}};
    BlockExecutor::current().together("mma_16x8x16", &own, multiply);
}

} // namespace sluice::kernels::emulated
