"""What calls lose whose clients move, whose load balancer is killed or gets a backend: quiclb and a routing map."""
