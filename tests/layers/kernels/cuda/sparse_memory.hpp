// Memory far larger than the machine's, of which only some places may be touched. All else is
// closed: an access there, or within 64 GiB before or behind, is let through and told afterwards.
// So an index that was cut to 32 bits shows wherever it leads, whether something is written there
// or only read.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace sluice::testing {

class SparseMemory {
public:
    /// Zeros. What cannot be mapped (`ulimit -v`) is an error.
    explicit SparseMemory(std::size_t num_bytes);
    ~SparseMemory();
    SparseMemory(const SparseMemory&) = delete;
    SparseMemory& operator=(const SparseMemory&) = delete;

    /// On a page's beginning.
    std::byte* data() const { return data_; }
    std::size_t num_bytes() const { return num_bytes_; }

    /// Lets these bytes be touched, with the rest of their pages.
    void open(std::size_t offset, std::size_t num_bytes);

    /// Accesses to what is closed, of all memories, since this was last called: a page's first, in
    /// words.
    static std::vector<std::string> take_strays();

    static const std::size_t page; ///< of this machine

private:
    friend struct Strays;
    bool reserves(const std::byte* place) const;

    std::byte* mapping_;
    std::size_t mapped_bytes_;
    std::byte* data_;
    std::size_t num_bytes_;
};

} // namespace sluice::testing
