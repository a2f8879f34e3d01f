#include "pipeline/transport/mpi_message_type.hpp"

#include "core/error.hpp"

namespace sluice {

namespace {

void check(int code, const char* call)
{
    SLUICE_CHECK(code == MPI_SUCCESS, call << " returned " << code);
}

} // namespace

MpiMessageType mpi_message_type(std::int64_t num_bytes, std::int64_t largest_plain)
{
    SLUICE_CHECK(num_bytes >= 0 && largest_plain >= 1 && largest_plain <= 0x7fffffff,
                 num_bytes << " bytes, at most " << largest_plain << " plain");
    if (num_bytes <= largest_plain)
        return {MPI_BYTE, static_cast<int>(num_bytes), false};
    const std::int64_t blocks = num_bytes / largest_plain;
    SLUICE_CHECK(blocks <= 0x7fffffff, num_bytes << " bytes");

    MPI_Datatype block = MPI_DATATYPE_NULL, all_blocks = MPI_DATATYPE_NULL;
    check(MPI_Type_contiguous(static_cast<int>(largest_plain), MPI_BYTE, &block),
          "MPI_Type_contiguous");
    check(MPI_Type_contiguous(static_cast<int>(blocks), block, &all_blocks), "MPI_Type_contiguous");
    const int counts[] = {1, static_cast<int>(num_bytes % largest_plain)};
    const MPI_Aint offsets[] = {0, static_cast<MPI_Aint>(blocks * largest_plain)};
    const MPI_Datatype types[] = {all_blocks, MPI_BYTE};
    MpiMessageType message{MPI_DATATYPE_NULL, 1, true};
    check(MPI_Type_create_struct(2, counts, offsets, types, &message.type),
          "MPI_Type_create_struct");
    check(MPI_Type_commit(&message.type), "MPI_Type_commit");
    check(MPI_Type_free(&block), "MPI_Type_free");
    check(MPI_Type_free(&all_blocks), "MPI_Type_free");
    return message;
}

} // namespace sluice
