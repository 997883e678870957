module quiclb.example/spp

go 1.21
