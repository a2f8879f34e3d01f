// HDF5 files that are wrong on purpose, with right checksums of their metadata: those keep a
// mutated file from being looked at any further, and nothing keeps an attacker from computing them.
#pragma once

#include "tests/fuzz/fuzz_input.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::fuzz {

std::string bytes_of_file(const std::filesystem::path& path);

class Hdf5Forgery {
public:
    /// `base`: a good file, whose checksummed blocks are found by their signatures.
    explicit Hdf5Forgery(std::string base);

    /// The first byte of `choices` says how to read the others: bit 0 set, they are the whole file;
    /// else they are changes to the base, each an operation, a place and what to put there. Bit 1
    /// set: checksums stay as they then are.
    std::string forged(Choices& choices) const;

private:
    void keep_addresses_possible(std::string& file) const;
    void keep_messages_possible(std::string& file) const;

    struct Attribute {
        std::size_t begin, values, end; ///< of its message; of its values in it
    };

    std::string base_;
    std::vector<Attribute> attributes_;
    std::vector<std::size_t> link_sizes_; ///< places of the sizes of links' values
    std::vector<std::size_t> undefined_;  ///< places of addresses that name nothing
    std::vector<std::pair<std::size_t, std::size_t>> blocks_; ///< begin, bytes before the checksum
};

} // namespace sluice::fuzz
